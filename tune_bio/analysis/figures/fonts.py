"""Fonts for names in any script; Matplotlib's own font lacks Chinese, Japanese and Korean."""

from collections.abc import Iterable

from matplotlib import font_manager

OWN = "DejaVu Sans"  # comes with Matplotlib
# Tried in this order; a font is used if it is installed and has characters that are still missing.
FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC",
    "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans", "Heiti TC", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Arial Unicode MS", "Noto Sans",
)  # fmt: skip


def families(characters: Iterable[str]) -> tuple[list[str], str]:
    """Return font families that together cover the characters, and the uncovered characters."""
    missing = {character for character in characters if not character.isascii()}
    selected = [OWN]
    if missing:
        missing -= _glyphs(OWN)
    if missing and not any(name in _installed() for name in FALLBACKS):
        _rescan_fonts()
    for name in FALLBACKS if missing else ():
        if name not in _installed():
            continue
        covered = missing & _glyphs(name)
        if covered:
            selected.append(name)
            missing -= covered
    return selected, "".join(sorted(missing))


def _installed() -> set[str]:
    return {font.name for font in font_manager.fontManager.ttflist}


def _glyphs(family: str) -> set[str]:
    font = font_manager.get_font(font_manager.findfont(family))
    return {chr(code) for code in font.get_charmap()}


def _rescan_fonts() -> None:
    """Register fonts that were installed after Matplotlib cached its list of fonts."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a damaged file or an unsupported format
                continue
