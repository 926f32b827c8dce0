"""Fonts for names in any script: Matplotlib's own has no Chinese, Japanese or Korean."""

from collections.abc import Iterable

from matplotlib import font_manager

OWN = "DejaVu Sans"  # comes with Matplotlib
# The first that is installed and has what is missing; a later one fills what is missing still.
FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC",
    "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans", "Heiti TC", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo",
    "Arial Unicode MS", "Noto Sans",
)  # fmt: skip


def families(characters: Iterable[str]) -> tuple[list[str], str]:
    """Font families that have these characters together, and the characters that none has."""
    missing = {one for one in characters if not one.isascii()}
    found = [OWN]
    if missing:
        missing -= _glyphs(OWN)
    if missing and not any(name in _installed() for name in FALLBACKS):
        _look_again()
    for name in FALLBACKS if missing else ():
        if name not in _installed():
            continue
        has = missing & _glyphs(name)
        if has:
            found.append(name)
            missing -= has
    return found, "".join(sorted(missing))


def _installed() -> set[str]:
    return {font.name for font in font_manager.fontManager.ttflist}


def _glyphs(family: str) -> set[str]:
    font = font_manager.get_font(font_manager.findfont(family))
    return {chr(code) for code in font.get_charmap()}


def _look_again() -> None:
    """Matplotlib lists fonts once and for all; one that was installed since is unknown to it."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):  # a damaged file, or of a kind that it cannot read
                continue
