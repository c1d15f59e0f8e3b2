"""The files of the page, without a browser: texts, markup that fits the content security policy, readable colors."""

import ast
import re

import pytest

from tests.support.paths import ROOT

STATIC = ROOT / "edge" / "web" / "static"
PAGES = sorted(STATIC.glob("*.html"))
SCRIPTS = sorted(STATIC.glob("*.js"))
ENTRY = r'(?m)^  "([\w.]+)": "(.*)",$'
STYLES = (STATIC / "page.css").read_text()
LEAST_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3, for text of any size."""


def named(path):
    return path.name


def table(code):
    """Return the texts of a language by key."""
    written = "".join((STATIC / f"{name}_{code}.js").read_text() for name in ("texts", "texts_counter"))
    return dict(re.findall(ENTRY, written))


def refusals(code):
    """Return the translations of refusals by their code."""
    return dict(re.findall(ENTRY, (STATIC / f"texts_refusals_{code}.js").read_text()))


def raised():
    """Return the codes of refusals in the source, each with the names of its values."""
    found = {}
    for path in (ROOT / "edge").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "").endswith("Error"):
                named = {each.arg: each.value for each in call.keywords}
                code = named.pop("code", None)
                choices = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
                found |= {each.value: set(named) for each in choices if isinstance(each, ast.Constant)}
    return found


def texts():
    return set(table("en"))


def used_texts():
    """Return the keys in the source, and the prefixes of keys that are composed at run time: ``translate(`why.${…}`)``."""
    written, begun = set(), set()
    for path in [*PAGES, *SCRIPTS]:
        if path.name.startswith("texts"):
            continue
        text = path.read_text()
        written |= set(re.findall(r'data-(?:text|label|hint)="([\w.]+)"', text))
        written |= set(re.findall(r'"([a-z]+(?:\.[a-z_]+)+)"', text)) & texts()
        written |= set(re.findall(r'\btranslate\((?:[^"()]*\? )?"([\w.]+)"', text))
        written |= set(re.findall(r'\btranslate\([^()]*\? "[\w.]+" : "([\w.]+)"', text))
        begun |= set(re.findall(r"`([a-z]+(?:\.[a-z_]+)*\.)\$\{", text))
    return written, begun


def test_every_used_text_exists():
    written, begun = used_texts()
    assert written, begun
    assert written - texts() == set()
    assert {start for start in begun if not any(key.startswith(start) for key in texts())} == set()


def test_every_text_is_used():
    written, begun = used_texts()
    assert {key for key in texts() - written if not any(key.startswith(start) for start in begun)} == set()


@pytest.mark.parametrize("code", [code for code in re.findall(r"(\w+): {", (STATIC / "texts.js").read_text()) if code != "en"])
def test_a_language_has_every_text_with_its_placeholders(code):
    english, other = table("en"), table(code)
    assert english.keys() == other.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", other[key])), key


def test_every_refusal_that_has_a_code_is_translated_with_values_that_it_has():
    codes = raised()
    assert "line_gone" in codes
    assert {f"refusal.{code}" for code in codes} == refusals("de").keys() | {"refusal.rules_wrong"}
    for key, text in refusals("de").items():
        assert set(re.findall(r"{(\w+)}", text)) <= codes[key.removeprefix("refusal.")], key


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_markup_has_no_inline_script_style_handler_or_external_address(page):
    text = page.read_text()
    assert re.findall(r"<script(?![^>]* src=\"/static/)", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|https?:|//[a-z]", text) == []
    assert re.search(r'<html lang="en">', text)
    assert 'name="viewport"' in text
    assert re.findall(r"<img(?![^>]* alt=)", text) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_named_in_the_markup_exist(page):
    for name in re.findall(r'(?:src|href)="/static/([^"]+)"', page.read_text()):
        assert (STATIC / name).is_file(), name


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_scripts_import_existing_names_and_create_no_markup_from_text(script):
    text = script.read_text()
    for name, wanted in re.findall(r'import (.+?) from "\./([^"]+)"', text, re.DOTALL)[::-1]:
        there = (STATIC / wanted).read_text()
        for each in re.findall(r"\w+", re.sub(r"\* as \w+", "", name)):
            assert re.search(rf"export (?:async )?(?:function|class|const) {each}\b", there), f"{wanted} exports no {each}"
    dangerous = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org/2000/svg)"
    assert re.findall(dangerous, text) == []


def colors(block):
    return dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6});", block))


def luminance(color):
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_text_color_has_enough_contrast_to_every_background(scheme):
    dark, light = STYLES.split("@media (prefers-color-scheme: light)")[0], STYLES.split("@media (prefers-color-scheme: light)")[1]
    palette = colors(dark if scheme == "dark" else light[: light.index("}\n}")])
    for text in ("text", "soft", "good", "warn", "bad", "info"):
        for ground in ("ground", "surface", "raised"):
            assert contrast(palette[text], palette[ground]) >= LEAST_CONTRAST, (text, ground)
    for accent in ("good", "warn", "bad", "info"):
        assert contrast(palette["on-accent"], palette[accent]) >= LEAST_CONTRAST, accent
