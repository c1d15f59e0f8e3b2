// The page for counting cards: what was counted last, the list, and what a person can do with it, by touch or by key.

import { ApiError, follow, get, post } from "./api.js";
import { CardPicker } from "./card_picker.js";
import { ExportDialog } from "./export_dialog.js";
import { CONDITIONS, FINISHES, binTexts, cardCount, choose, fillChoices, following, money } from "./fields.js";
import { Keys } from "./keys.js";
import { Link } from "./link.js";
import { EditDialog, ListsDialog, SettingsDialog, isSpoken } from "./list_dialogs.js";
import { ListModel } from "./list_model.js";
import { ListView } from "./list_view.js";
import { NowView, outcomeText } from "./now_view.js";
import { icon, insertIcons, toast } from "./page.js";
import { Preview } from "./preview.js";
import * as sound from "./sound.js";
import { applyTexts, label, language, translate } from "./words.js";

applyTexts();
insertIcons();

const find = (selector) => document.querySelector(selector);
const model = new ListModel();
const link = new Link();
const preview = new Preview(find(".preview"));
const picker = new CardPicker();
const list = new ListView(model, (id) => select(id));
const filter = { waiting: false, words: "" };
let overview = [];
let opened = null; // a list of wanted or owned cards that is looked at; null for the one that is counted into
let shown = ""; // the outcome that was shown last: a command's comes with its response and over the stream

// --- commands -------------------------------------------------------------------------------------------------------------------------

/** Send something to the scanner; a refusal is shown. Returns the response, null if it was refused. */
async function send(path, body) {
  try {
    return await post(path, body);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message, "bad");
    sound.play("full");
    return null;
  }
}

/** Change the list. The page shows the change when the scanner has it. */
async function command(fields) {
  if (!model.header) return null; // no list is loaded yet
  const update = await send(`/api/lists/${model.id}/commands`, { seen: model.summary.revision, ...fields });
  if (update) await applyUpdate(update);
  return update;
}

const current = () => model.lines.get(list.selected);

function withLine(run) {
  return (...values) => {
    const line = current();
    if (line) return run(line, ...values);
    return toast(translate("counter.nothing"), "bad");
  };
}

/** Return a function that changes fields of one copy: of the one that was counted last, if its line has several. */
const changed = (fields) => withLine((line) => !line.waiting && command({ do: "edit", line: line.id, copies: 1, ...fields(line) }).then(selectPut));

function selectPut(update) {
  const line = update?.put.at(-1);
  if (line) select(line.id);
}

async function configure(fields) {
  await command({ do: "configure", ...fields });
}

const setDefaults = (fields) => configure({ defaults: { ...model.header.defaults, ...fields } });

function settle(line, card) {
  return command({ do: "settle", line: line.id, card_id: card.card_id });
}

function findName(line) {
  const title = translate(line.waiting ? "counter.name_card" : "counter.wrong");
  const take = (card) => (line.waiting ? settle(line, card) : command({ do: "edit", line: line.id, copies: 1, card_id: card.card_id }));
  picker.open(title, take, line.candidates);
}

function addCard() {
  picker.open(translate("counter.add"), (card) => command({ do: "add", card_id: card.card_id }));
}

/** Count the card that waits for a confirmation, or that was not counted because it was only lifted. */
async function confirm() {
  const { outcome } = now;
  if (outcome && ["to_confirm", "again", "outside", "paused"].includes(outcome.kind)) await command({ do: "confirm", event_id: outcome.event_id });
  else toast(translate("counter.no_confirm"), "bad");
}

function candidate(key) {
  const line = current();
  const card = line?.waiting ? line.candidates[Number(key) - 1] : undefined;
  if (card) settle(line, card);
  else toast(translate("counter.no_candidate", { number: key }), "bad");
}

async function merge() {
  const { marked } = list;
  const lines = marked.length > 1 ? marked : sameCard();
  if (lines.length < 2) return toast(translate("counter.merge.help"), "bad");
  if (await command({ do: "merge", lines })) list.clearMarks();
}

function sameCard() {
  const line = current();
  if (!line || line.waiting) return [];
  return [line.id, ...[...model.lines.values()].filter((other) => other.card_id === line.card_id && other.id !== line.id).map((other) => other.id)];
}

async function remove() {
  const lines = list.marked.length > 0 ? list.marked : [list.selected].filter((id) => model.lines.has(id));
  const next = list.neighbor(1) === list.selected ? list.neighbor(-1) : list.neighbor(1);
  if (lines.length === 0 || !(await command({ do: "remove", lines }))) return;
  list.clearMarks();
  if (model.lines.has(next)) select(next);
}

function alwaysThis() {
  const line = current();
  if (!line?.card_id) return;
  const printings = [...new Set([line.card_id, ...model.header.printings])];
  configure({ printings });
  toast(translate("counter.always.done", { name: line.name }), "good");
}

// --- what is shown --------------------------------------------------------------------------------------------------------------------

const actions = [
  { icon: "plus", text: "action.more", run: withLine((line) => command({ do: "count", line: line.id, copies: 1 })) },
  { icon: "minus", text: "action.fewer", run: withLine((line) => command({ do: "count", line: line.id, copies: -1 })) },
  { icon: "star", text: "field.finish", title: "action.finish", run: changed((line) => ({ finish: following(FINISHES.slice(0, 3), line.finish) })) },
  { icon: "grade", text: "field.condition", title: "action.condition", run: changed((line) => ({ condition: following(CONDITIONS, line.condition) })) },
  { icon: "pen", text: "action.edit", run: withLine((line) => (line.waiting ? findName(line) : editDialog.open(line))) },
  { icon: "cross", text: "action.other", run: withLine(findName) },
  { icon: "trash", text: "action.remove", run: remove },
  { icon: "check", text: "action.confirm", run: confirm },
];
const now = new NowView(model, settle, actions);

function select(id) {
  list.select(id);
  const line = model.lines.get(id);
  if (line) now.showLine(line);
}

function drawList(changedIds = null) {
  const ids = model.visible(filter);
  list.show(ids, changedIds);
  find(".book").classList.toggle("none", ids.length === 0);
}

function drawSums() {
  const { quantity, lines, waiting, undo, redo } = model.summary;
  find("#quantity").textContent = cardCount(quantity);
  const value = money(model.totals.value, model.totals.currency);
  const unpriced = value && model.totals.unpriced > 0 ? translate("counter.unpriced", { count: model.totals.unpriced }) : "";
  find("#value").textContent = value;
  find("#unpriced").textContent = unpriced;
  find(".sum").title = [unpriced, ...binTexts(model.totals)].filter(Boolean).join("\n");
  find("#show-all .count").textContent = lines;
  find("#show-waiting .count").textContent = waiting;
  find("#show-waiting").dataset.some = waiting > 0;
  find("#undo span").textContent = undo ? translate("counter.undo.what", { what: changeText(undo) }) : translate("counter.undo");
  find("#undo").disabled = !undo;
  find("#redo").disabled = !redo;
  if (redo) find("#redo").title = translate("counter.redo.what", { what: changeText(redo) });
}

function changeText({ action, name, count }) {
  return translate(`change.${action}`, { name: name ?? translate("counter.unnamed"), count: count > 0 ? `+${count}` : count });
}

/** Return whether nothing is counted now, whichever list is shown. */
const isPaused = () => overview.some((one) => one.active && one.paused);

function drawHeader() {
  const { header } = model;
  find("#open-lists span").textContent = find("#open-lists").title = header.name;
  label(find("#pause"), translate(isPaused() ? "counter.resume" : "counter.pause"));
  find("#pause").replaceChildren(icon(isPaused() ? "play" : "pause"));
  document.body.classList.toggle("paused", isPaused());
  find(".elsewhere").hidden = opened === null;
  find(".elsewhere span").textContent = translate(`lists.kind.${header.kind}`);
  const form = find("#defaults");
  for (const name of ["finish", "condition", "language"]) choose(form.elements[name], header.defaults[name]);
  if (document.activeElement !== form.elements.note) form.elements.note.value = header.defaults.note;
  form.classList.toggle("special", header.defaults.finish !== "normal" || header.defaults.condition !== "near_mint");
  document.title = `${header.name} · CardEdge`;
}

// --- changes from the scanner ---------------------------------------------------------------------------------------------------------

async function load() {
  overview = await get("/api/lists");
  if (!overview.some((one) => one.list_id === opened && one.kind !== "counted")) opened = null; // it was deleted, or is counted into now
  const whole = await get(`/api/lists/${opened ?? "active"}`);
  const before = model.id;
  model.fill(whole);
  listsDialog.show(overview, model.id);
  drawHeader();
  drawSums();
  if (before === model.id) drawList();
  else {
    find("#filter").value = "";
    setFilter({ waiting: false, words: "" });
    drawList(); // first: the marks and the selection are of lines that this list may not have
    list.clearMarks();
    now.showIdle();
  }
  const line = current() ?? model.lines.get(model.newest[0]);
  if (line && !now.outcome) select(line.id);
  if (!line) now.showIdle();
}

/** Show a list of wanted or owned cards; null for the one that is counted into. */
function openList(id) {
  opened = id;
  load().catch(ignoreApiError);
}

async function applyUpdate(update) {
  if (update.list_id !== model.id) {
    if (opened !== null && update.outcome) toast(announce(update.outcome)); // the camera counts into the other list meanwhile
    return;
  }
  if (!model.apply(update)) return load();
  if (update.header) drawHeader();
  drawSums();
  drawList([...update.removed, ...update.put.map((line) => line.id)]);
  if (update.outcome) showOutcome(update.outcome, update.revision);
  if (filter.waiting) return selectWaiting();
  if (update.outcome) return undefined;
  const line = current();
  if (line && update.put.some(({ id }) => id === line.id)) now.showLine(line);
  else if (!line) select(model.newest[0]);
}

/** Say what became of a card by a sound, to screen readers, and aloud if that is wanted. Returns the text. */
function announce(outcome) {
  sound.play(outcome.kind);
  const text = `${outcome.name ?? translate("counter.unnamed")}: ${outcomeText(outcome)}${outcome.bin ? `, ${translate("counter.in_bin", { bin: outcome.bin })}` : ""}`;
  find("#spoken").textContent = text;
  if (isSpoken()) speak(outcome.bin ?? outcomeText(outcome));
  return text;
}

function showOutcome(outcome, revision) {
  const name = `${revision} ${outcome.kind} ${outcome.event_id}`;
  if (name === shown) return;
  shown = name;
  const line = outcome.line === null ? null : model.lines.get(outcome.line);
  if (!filter.waiting) {
    if (!document.querySelector("dialog[open]")) list.select(line?.id ?? null); // the buttons change the card that is shown, or nothing
    now.showOutcome(outcome, line);
  }
  const text = announce(outcome);
  if (filter.waiting) toast(text); // the card that is being named stays in view
}

/** Go on with the next card without a name when the selected one has got its name. */
function selectWaiting() {
  const ids = model.visible(filter);
  if (ids.length > 0 && !ids.includes(list.selected)) select(ids[0]);
}

function speak(text) {
  speechSynthesis.cancel(); // the newest card is the one in the hand
  const spoken = new SpeechSynthesisUtterance(text);
  spoken.lang = language;
  speechSynthesis.speak(spoken);
}

/** The page loads again what it could not load, once the scanner is reachable again. */
function ignoreApiError(error) {
  if (!(error instanceof ApiError)) throw error;
}

// --- controls -------------------------------------------------------------------------------------------------------------------------

const editDialog = new EditDialog(command);
const listsDialog = new ListsDialog(send, openList);
const settingsDialog = new SettingsDialog(model, configure);
const exportDialog = new ExportDialog(model);

function setFilter(fields) {
  Object.assign(filter, fields);
  find("#show-all").setAttribute("aria-pressed", !filter.waiting);
  find("#show-waiting").setAttribute("aria-pressed", filter.waiting);
  drawList([]);
  if (filter.waiting) selectWaiting();
}

function updateSoundButton() {
  const on = sound.isOn();
  find("#sound").setAttribute("aria-pressed", on);
  find("#sound").replaceChildren(icon(on ? "sound" : "silence"));
  find("#sound").title = translate(on ? "nav.sound.on" : "nav.sound.off");
}

function toggleSound() {
  sound.enable(!sound.isOn());
  updateSoundButton();
}

const togglePause = () => send(`/api/lists/active/${isPaused() ? "resume" : "pause"}`, {});
const move = (rows) => () => {
  const id = list.neighbor(rows);
  if (id !== null) select(id);
};

fillChoices(find("#defaults"), true);
find("#defaults").addEventListener("change", ({ target }) => setDefaults({ [target.name]: target.value || (target.name === "language" ? null : "") }));
find("#defaults").addEventListener("submit", (event) => event.preventDefault());
find("#undo").addEventListener("click", () => command({ do: "undo" }));
find("#redo").addEventListener("click", () => command({ do: "redo" }));
find("#add-card").addEventListener("click", addCard);
find("#open-export").addEventListener("click", () => exportDialog.open());
find("#open-lists").addEventListener("click", () => listsDialog.open());
find("#back").addEventListener("click", () => openList(null));
find("#open-settings").addEventListener("click", () => settingsDialog.open());
find("#open-keys").addEventListener("click", () => find("#keys-dialog").showModal());
find("#pause").addEventListener("click", togglePause);
find("#sound").addEventListener("click", toggleSound);
find("#show-all").addEventListener("click", () => setFilter({ waiting: false }));
find("#show-waiting").addEventListener("click", () => setFilter({ waiting: true }));
find("#filter").addEventListener("input", ({ target }) => setFilter({ words: target.value }));

const nextDefault = (name, values) => () => setDefaults({ [name]: following(values, model.header.defaults[name]) });
new Keys([
  { keys: ["Enter", "Space", "PageDown"], text: "keys.confirm", run: confirm },
  { keys: ["u", "Backspace", "Ctrl+z"], text: "keys.undo", run: () => command({ do: "undo" }) },
  { keys: ["r", "Ctrl+y"], text: "keys.redo", run: () => command({ do: "redo" }) },
  { keys: ["+", "="], text: "keys.more", run: actions[0].run, repeats: true },
  { keys: ["-"], text: "keys.fewer", run: actions[1].run, repeats: true },
  { keys: ["f"], text: "keys.finish", run: actions[2].run },
  { keys: ["c"], text: "keys.condition", run: actions[3].run },
  { keys: ["Shift+F"], text: "keys.next_finish", run: nextDefault("finish", FINISHES.slice(0, 3)) },
  { keys: ["Shift+C"], text: "keys.next_condition", run: nextDefault("condition", CONDITIONS) },
  { keys: ["n"], text: "keys.note", run: () => find("#defaults").elements.note.focus() },
  { keys: ["e"], text: "keys.edit", run: actions[4].run },
  { keys: ["w"], text: "keys.other", run: withLine(findName) },
  { keys: ["1", "2", "3", "4", "5"], text: "keys.candidate", run: candidate },
  { keys: ["v"], text: "keys.waiting", run: () => setFilter({ waiting: !filter.waiting }) },
  { keys: ["ArrowUp", "k"], text: "keys.up", run: move(-1), repeats: true },
  { keys: ["ArrowDown", "j"], text: "keys.down", run: move(1), repeats: true },
  { keys: ["Home"], text: "keys.first", run: move(-Infinity) },
  { keys: ["End"], text: "keys.last", run: move(Infinity) },
  { keys: ["x"], text: "keys.mark", run: withLine((line) => list.toggleMark(line.id)) },
  { keys: ["m"], text: "keys.merge", run: merge },
  { keys: ["Delete", "d"], text: "keys.remove", run: remove },
  { keys: ["t"], text: "keys.always", run: alwaysThis },
  { keys: ["a"], text: "keys.add", run: addCard },
  { keys: ["/"], text: "keys.filter", run: () => find("#filter").focus() },
  { keys: ["o"], text: "keys.lists", run: () => listsDialog.open() },
  { keys: ["b"], text: "keys.back", run: () => openList(null) },
  { keys: ["g"], text: "keys.settings", run: () => settingsDialog.open() },
  { keys: ["s"], text: "keys.export", run: () => exportDialog.open() },
  { keys: ["p"], text: "keys.pause", run: togglePause },
  { keys: ["q"], text: "keys.sound", run: toggleSound },
  { keys: ["?"], text: "keys.help", run: () => find("#keys-dialog").showModal() },
]);

updateSoundButton();
follow(
  "/api/stream?outlines=1",
  {
    health: (health) => (link.health = health),
    outlines: (update) => preview.show(update),
    list_change: (update) => applyUpdate(update).catch(ignoreApiError),
    lists: () => load().catch(ignoreApiError),
  },
  (reachable) => {
    link.reachable = reachable;
    if (!reachable) return preview.stop();
    preview.start();
    Promise.all([load(), get("/api/state").then((state) => (link.health = state.health))]).catch(ignoreApiError);
  },
);
