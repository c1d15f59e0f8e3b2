// The scanner's HTTP API: JSON requests, and the stream of server-sent events.

import { translate } from "./words.js";

/** A request failed; the message is a text for the user. */
export class ApiError extends Error {}

export async function get(path) {
  return parse(await send(path, {}));
}

export async function post(path, body = {}) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return parse(await send(path, request));
}

/** Send a file as the body of a request. */
export async function postFile(path, file) {
  return parse(await send(path, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file }));
}

async function send(path, request) {
  try {
    return await fetch(path, { ...request, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new ApiError(translate("error.network"));
  }
}

async function parse(response) {
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.error ? refusalText(body) : translate("error.status", { status: response.status }));
  return body;
}

/** Return why the scanner refused something: translated by its code, or as the scanner says it. */
function refusalText({ error, code, values = {} }) {
  return translate(`refusal.${code}`, { ...values, problem: problemText(values.kind, values.detail) }, error);
}

/** Return what is wrong with a part of a file or text, translated by its code, or the English `text`. */
export function problemText(code, text) {
  return translate(`problem.${code}`, {}, text ?? "");
}

const SILENCE_MS = 45_000; // health arrives at least every 30 s; a stream without any event for longer is broken, even without an error
const RETRY_MS = 1_000;

/**
 * Follow the stream while the page is visible. `handlers` are called with the data of an event, by its name; `onlink(true)` is called when
 * the stream has been opened, `onlink(false)` when it is lost. The stream is closed while the page is hidden.
 */
export function follow(path, handlers, onlink) {
  let source = null;
  let silence = 0;
  let retry = 0;

  function restartTimeout() {
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MS);
  }

  function close() {
    clearTimeout(silence);
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function lost() {
    close();
    onlink(false);
    retry = setTimeout(open, RETRY_MS);
  }

  function open() {
    close();
    source = new EventSource(path);
    source.onopen = () => {
      restartTimeout();
      onlink(true);
    };
    source.onerror = lost;
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        restartTimeout();
        handler(JSON.parse(event.data));
      });
    }
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}
