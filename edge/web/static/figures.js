// Tables of the scanner's health, updated once a second.

import { Graph } from "./graph.js";
import { make } from "./page.js";
import { duration, language, timeOfDay, translate } from "./words.js";

const RATES = ["frames", "cards", "events"];
const THROTTLING_BEGINS_C = 80;
const SCALE_C = 100;

const graphs = RATES.map((rate) => [rate, new Graph(translate(`status.rate.${rate}`))]);
document.querySelector(".graphs").append(...graphs.map(([, graph]) => graph.element));

const digits = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const many = new Intl.NumberFormat(language);

export function showHealth(health) {
  showProblems(health.problems);
  for (const [rate, graph] of graphs) graph.add(health.rates[rate] ?? 0, digits.format(health.rates[rate] ?? 0));
  showLatencies(health.latency_ms);
  showTemperatures(health.temperatures_c);
  showCamera(health.camera);
  showBroker(health.publisher);
  showMachine(health);
}

function list(id, fields) {
  const shown = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const rows = shown.map(([field, value]) => make("div", {}, make("dt", { text: translate(`field.${field}`) }), make("dd", { text: value })));
  document.getElementById(id).replaceChildren(...rows);
}

function showProblems(problems) {
  const place = document.querySelector(".problems");
  place.hidden = problems.length === 0;
  const items = problems.map(({ part, message, since }) =>
    make("li", {}, make("b", { text: part }), ` ${message} `, make("small", { text: translate("status.since", { time: timeOfDay(since) }) })),
  );
  place.querySelector("ul").replaceChildren(...items);
}

function showLatencies(latencies) {
  const longest = Math.max(...Object.values(latencies).map(({ p95 }) => p95), 1);
  const rows = Object.entries(latencies).map(([stage, { p50, p95 }]) => {
    const bar = make("span", { class: "bar-of" }, make("i", { class: "late" }), make("i", { class: "usual" }));
    bar.children[0].style.width = `${(100 * p95) / longest}%`;
    bar.children[1].style.width = `${(100 * p50) / longest}%`;
    const cell = (value) => make("td", { class: "figure", text: translate("value.ms", { count: digits.format(value) }) });
    return make("tr", {}, make("th", { scope: "row", text: stage.replaceAll("_", " ") }), cell(p50), cell(p95), make("td", { class: "bars" }, bar));
  });
  document.querySelector(".latencies tbody").replaceChildren(...rows);
}

function showTemperatures(temperatures) {
  const rows = Object.entries(temperatures).map(([place, celsius]) => {
    const fill = make("i", { class: "fill" });
    fill.style.width = `${Math.min(100, (100 * celsius) / SCALE_C)}%`;
    const words = make("p", {}, make("span", { text: place }), make("b", { class: "number", text: translate("value.celsius", { count: digits.format(celsius) }) }));
    return make("div", { class: "meter", "data-kind": celsius >= THROTTLING_BEGINS_C ? "bad" : "good" }, words, make("div", { class: "track" }, fill));
  });
  const none = make("p", { class: "help", text: translate("status.temperature.none") });
  document.getElementById("temperatures").replaceChildren(...(rows.length > 0 ? rows : [none]));
}

function showCamera(camera) {
  list("camera", {
    state: camera.state,
    source: camera.source,
    size: camera.width && `${camera.width} × ${camera.height}`,
    frame_age: camera.frame_age_s === null ? null : duration(camera.frame_age_s),
    reopened: camera.reopened ? many.format(camera.reopened) : null,
    error: camera.last_error,
  });
}

function showBroker(broker) {
  const dropped = Object.values(broker.dropped).reduce((sum, count) => sum + count, 0);
  document.getElementById("broker").dataset.kind = broker.connected ? "good" : "bad";
  list("broker", {
    state: broker.connected ? translate("value.connected") : translate("value.offline", { state: broker.state }),
    protocol: broker.protocol && `MQTT ${broker.protocol}`,
    outbox: many.format(broker.outbox_rows),
    oldest: broker.oldest_age_s === null ? null : duration(broker.oldest_age_s),
    reconnects: many.format(broker.reconnects),
    dropped: many.format(dropped),
    quarantined: many.format(broker.quarantined),
    error: broker.last_error,
  });
}

function showMachine({ device_id: device, uptime_s: uptime, memory_mb: memory, drops, versions, network }) {
  const left = Object.entries(drops).filter(([, count]) => count > 0);
  const npu = network.npu;
  list("machine", {
    device,
    uptime: duration(uptime),
    memory: memory === null ? null : translate("value.mb", { count: many.format(Math.round(memory)) }),
    npu: npu && [npu.state, npu.architecture, npu.pcie].filter(Boolean).join(", "),
    drops: left.map(([place, count]) => `${place} ${many.format(count)}`).join(", "),
    error: network.last_error,
    versions: Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", "),
  });
}

/** Show the active index and model; either may still be unknown. */
export function showIndex(index, model) {
  const pushed = index?.last_push;
  list("network", {
    bundle: index && `${index.name} (${index.index_id})`,
    created: index && new Date(index.created).toLocaleDateString(language),
    cards: index && many.format(index.cards),
    added: index?.added ? many.format(index.added) : null,
    change: index?.changing ? `${index.progress ?? 0} %` : index?.problem,
    last_push: pushed && [pushed.result, pushed.bundle_id, pushed.technician, pushed.reason].filter(Boolean).join(", "),
    model: model && `${model.name} (${model.model_id.slice(0, 12)})`,
    backend: model?.backend,
  });
}
