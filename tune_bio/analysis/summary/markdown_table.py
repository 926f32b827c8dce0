"""Tables in Markdown."""

import pandas as pd


def markdown_table(table: pd.DataFrame) -> str:
    """Format a table in Markdown; floats have four digits, missing values are dashes."""
    lines = [" | ".join(map(str, table.columns)), " | ".join("---" for _ in table.columns)]
    for _, row in table.iterrows():
        lines.append(" | ".join(value_text(value).replace("|", "\\|") for value in row))
    return "\n".join(f"| {line} |" for line in lines)


def value_text(value: object) -> str:
    """Format a table cell: a float with four digits, a missing value as a dash."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else on_one_line(value)


def on_one_line(text: object) -> str:
    """Join lines of foreign text, since a line break would end a row or begin a heading."""
    return " ".join(str(text).split())
