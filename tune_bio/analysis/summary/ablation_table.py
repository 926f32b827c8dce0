"""The ablation of the winner, one change at a time, as a table of summary.md."""

import math
import statistics

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import describe_change
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.common.labels import metric_name


def ablation_table(study: StudyRecords, conclusions: Conclusions) -> str:
    """Write the ablation's section: one row per change, the most costly change first."""
    if not conclusions.ablated or study.ablation is None:
        return ""
    sign = -1 if study.ascending else 1
    ordered = sorted(
        conclusions.ablated,
        key=lambda change: sign * change.effect.difference if change.effect else math.inf,
    )
    rows = []
    for change in ordered:
        effect, row = change.effect, {"change": describe_change(change)}
        if effect is None:
            row["verdict"] = change.lost or "too few scores"
        else:
            row[f"{metric_name(study.metric)}, mean"] = f"{effect.mean:.4f}"
            row["difference (simultaneous 95 % interval)"] = (
                f"{effect.difference:+.4f} ({effect.low:+.4f} to {effect.high:+.4f})"
            )
            row["p"] = f"{effect.p_value:.2g}"
            row["verdict"] = effect.verdict
        rows.append(row)
    columns = [
        "change",
        f"{metric_name(study.metric)}, mean",
        "difference (simultaneous 95 % interval)",
        "p",
        "verdict",
    ]
    table = pd.DataFrame(rows).reindex(columns=columns)
    mean, metric = statistics.fmean(study.ablation["scores"].values()), metric_name(study.metric)
    caption = (
        f"The winner, {study.ablation['winner']}, has a mean {metric} of {mean:.4f} over its "
        f"{len(study.ablation['scores'])} replicates. Each row is the winner with one change, "
        "trained to the end under the same seeds. These configurations were not candidates for "
        "selection and were not evaluated on the test set."
    )
    return "\n\n".join(["## Ablation of the winner", caption, markdown_table(table)])
