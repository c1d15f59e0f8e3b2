// Create elements. Texts are never inserted as HTML.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  check: "M5 12.5l4.5 4.5L19 7.5",
  question: "M9 9a3 3 0 1 1 4.4 2.6c-.9.5-1.4 1.1-1.4 2.2M12 17.6v.1",
  cross: "M7 7l10 10M17 7L7 17",
  person: "M12 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 20c.6-3.6 3.4-5.5 7-5.5s6.4 1.9 7 5.5",
  card: "M8 4h8a1.5 1.5 0 0 1 1.5 1.5v13A1.5 1.5 0 0 1 16 20H8a1.5 1.5 0 0 1-1.5-1.5v-13A1.5 1.5 0 0 1 8 4zM9.5 7h5v5.5h-5zM9.5 16h5",
  list: "M9 6.5h10M9 12h10M9 17.5h10M5 6.5h.1M5 12h.1M5 17.5h.1",
  sound: "M4.5 9.5v5h3.3L12 18.5v-13L7.8 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M17.8 6.5a7.8 7.8 0 0 1 0 11",
  silence: "M4.5 9.5v5h3.3L12 18.5v-13L7.8 9.5zM15.5 9.8l4.5 4.5M20 9.8l-4.5 4.5",
  gauge: "M4.5 17a8.5 8.5 0 1 1 15 0M12 14.5l3.8-5M12 14.6v.1",
  again: "M19 12a7 7 0 1 1-2.2-5.1M19 4.5v4h-4",
  plus: "M12 5.5v13M5.5 12h13",
  undo: "M8.5 5.5L4.5 9.5l4 4M5 9.5h8.5a5 5 0 0 1 0 10H9",
  download: "M12 4.5v10M7.8 10.8L12 15l4.2-4.2M5 19h14",
  back: "M19 12H5.5M11 6l-6 6 6 6",
  warning: "M12 4.5L3.5 19h17zM12 10v4.2M12 16.6v.1",
  pause: "M8.5 6v12M15.5 6v12",
  gear: "M12 15.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM12 3.5v2.6M12 17.9v2.6M3.5 12h2.6M17.9 12h2.6M6 6l1.8 1.8M16.2 16.2L18 18M18 6l-1.8 1.8M7.8 16.2L6 18",
  count: "M5 7.5h9M5 12h9M5 16.5h5M17 9.5v8M14.5 15l2.5 2.5 2.5-2.5",
  minus: "M5.5 12h13",
  star: "M12 4.5l2.2 4.9 5.3.5-4 3.6 1.2 5.2-4.7-2.8-4.7 2.8 1.2-5.2-4-3.6 5.3-.5z",
  grade: "M6 19V10M12 19V5M18 19v-6",
  globe: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16zM4 12h16M12 4c-5 5-5 11 0 16M12 4c5 5 5 11 0 16",
  pen: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7M10.5 10.5v6M13.5 10.5v6",
  merge: "M6 5v3a5 5 0 0 0 5 5h7M6 19v-1a5 5 0 0 1 5-5M15 9.5l3.5 3.5-3.5 3.5",
  play: "M8.5 6v12l9-6z",
  plug: "M9 4v4M15 4v4M6.5 8h11v3a5.5 5.5 0 0 1-11 0zM12 16.5V20M4 4l16 16",
};

/** Return a new element. `properties` are its attributes, except `text`, and `on…` for event listeners. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(Boolean));
  return element;
}

export function drawn(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  return drawn("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, drawn("path", { d: ICONS[name] }));
}

export function insertIcons(root = document) {
  for (const element of root.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
}

/** Return an image that gets the class "missing" if it cannot be loaded. */
export function imageElement(address, alternative, properties = {}) {
  const image = make("img", { alt: alternative, decoding: "async", ...properties });
  image.addEventListener("error", () => image.classList.add("missing"));
  image.src = address;
  return image;
}

export function referenceUrl(cardId) {
  return `/api/pictures/${encodeURIComponent(cardId)}.jpg`;
}

export function cropUrl(eventId) {
  return `/api/crops/${encodeURIComponent(eventId)}.jpg`;
}

let toastTimer = 0;

/** Show a short message that disappears by itself. Screen readers announce it. */
export function toast(text, kind = "info") {
  const place = document.getElementById("toast");
  clearTimeout(toastTimer);
  place.textContent = text;
  place.dataset.kind = kind;
  place.classList.add("shown");
  toastTimer = setTimeout(() => place.classList.remove("shown"), 5000);
}
