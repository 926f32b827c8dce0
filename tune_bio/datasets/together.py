"""What must stay on one side of a split that is cut: a patient's images, and copies of an image."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tune_bio.datasets.images import Images
from tune_bio.fingerprints import array_sha256


def groups_of(images: Images) -> npt.NDArray[np.str_]:
    """(n,) the group of each image: its patient, or one patient for all who share a copy.

    Copies are files of the same bytes, or arrays of the same pixels; constant arrays are copies of
    nothing. Where patients are not known each image is one of its own, and its copies join it.
    """
    names, patient = np.unique(images.patients, return_inverse=True)
    _, content = np.unique(np.array(_contents(images)), return_inverse=True)
    # Patients and contents are the nodes, images the edges: who is connected stays together.
    size = len(names) + int(content.max()) + 1
    edges = coo_array((np.ones(len(images)), (patient, len(names) + content)), (size, size))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component[: len(names)], return_index=True)
    representative = dict(zip(component[first].tolist(), names[first], strict=True))
    return np.array([representative[c] for c in component[patient].tolist()], dtype=np.str_)


def _contents(images: Images) -> list[str]:
    """What tells an image's content from others: equal for copies."""
    of_files = images.source.file_hashes(images.rows)
    if of_files is not None:
        return of_files
    return [
        array_sha256(pixels) if np.ptp(pixels) else f"constant {row}"
        for row, pixels in zip(images.rows.tolist(), images.originals(), strict=True)
    ]
