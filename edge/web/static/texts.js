// The texts of the pages by language. To translate them, copy texts_en.js and texts_counter_en.js, translate the values, and add the tables
// here; a missing text is shown in English. Placeholders such as {name} are filled in. The page uses the language chosen in the settings, or
// the browser's, or the one in the address: ?lang=de. What the scanner refuses it says in English; a table of refusals by their code, such
// as texts_refusals_de.js, translates it.

import { counterDe } from "./texts_counter_de.js";
import { counterEn } from "./texts_counter_en.js";
import { de } from "./texts_de.js";
import { en } from "./texts_en.js";
import { refusalsDe } from "./texts_refusals_de.js";

export const languages = { en: { ...en, ...counterEn }, de: { ...de, ...counterDe, ...refusalsDe } };
