"""The winner with one change at a time, as a table of summary.md."""

import math
import statistics

import pandas as pd

from tune_bio.analysis.conclusions import Conclusions
from tune_bio.analysis.study_records import StudyRecords
from tune_bio.analysis.summary.conclusions_text import changed
from tune_bio.analysis.summary.markdown_table import markdown_table
from tune_bio.common.labels import metric_name


def ablation_table(study: StudyRecords, conclusions: Conclusions) -> str:
    """A change of the winner a row, that which costs most first."""
    if not conclusions.ablated or study.ablation is None:
        return ""
    sign = -1 if study.ascending else 1
    ordered = sorted(
        conclusions.ablated, key=lambda o: sign * o.effect.difference if o.effect else math.inf
    )
    rows = []
    for one in ordered:
        effect, row = one.effect, {"change": changed(one)}
        if effect is None:
            row["verdict"] = one.lost or "too few scores"
        else:
            row[f"{metric_name(study.metric)}, mean"] = f"{effect.mean:.4f}"
            row["difference (95 % for all at once)"] = (
                f"{effect.difference:+.4f} ({effect.low:+.4f} to {effect.high:+.4f})"
            )
            row["p"] = f"{effect.p_value:.2g}"
            row["verdict"] = effect.verdict
        rows.append(row)
    columns = [
        "change",
        f"{metric_name(study.metric)}, mean",
        "difference (95 % for all at once)",
        "p",
        "verdict",
    ]
    table = pd.DataFrame(rows).reindex(columns=columns)
    mean, named = statistics.fmean(study.ablation["scores"].values()), metric_name(study.metric)
    told = (
        f"The winner, {study.ablation['winner']}, has a {named} of {mean:.4f} in the mean of its "
        f"{len(study.ablation['scores'])} replicates. Each row is trained under the same seeds, to "
        "the end, with this one change; none of them could win, and none has seen the test set."
    )
    return "\n\n".join(["## The winner with one change at a time", told, markdown_table(table)])
