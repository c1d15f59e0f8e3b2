// The texts of the page by language, one table each. To translate the page, copy texts_en.js, translate the values, and add the table here; a
// missing text is shown in English. Placeholders such as {name} are filled in. The page uses the language chosen in the settings, or the
// browser's, or the one in the address: ?lang=de.

import { de } from "./texts_de.js";
import { en } from "./texts_en.js";

export const languages = { en, de };
