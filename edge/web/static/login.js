// Signing in with the token, where the scanner asks for one.

import { ApiError, tell } from "./api.js";
import { putTexts, say } from "./words.js";

putTexts();
document.title = say("title.login");

/** Only a path of this scanner is gone on to, whatever the address says. */
function next() {
  const path = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/[a-z]*$/.test(path) ? path : "/";
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  try {
    await tell("/login", { token: form.elements.token.value });
    location.replace(next());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    form.querySelector(".error").textContent = error.message;
    form.elements.token.select();
  }
});
