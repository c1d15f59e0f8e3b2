// Sign in with the scanner's token.

import { ApiError, post } from "./api.js";
import { applyTexts, translate } from "./words.js";

applyTexts();
document.title = translate("title.login");

/** Return the page to open after the login; only a path on this scanner is accepted. */
function next() {
  const path = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/[a-z]*$/.test(path) ? path : "/";
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  try {
    await post("/login", { token: form.elements.token.value });
    location.replace(next());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    form.querySelector(".error").textContent = error.message;
    form.elements.token.select();
  }
});
