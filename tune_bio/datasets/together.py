"""What must stay on one side of a split that is cut: a patient's images, and copies of an image."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tune_bio.datasets.images import Images


def groups_of(images: Images) -> npt.NDArray[np.str_]:
    """(n,) the group of each image: its patient, or one patient for all who share a copy.

    Copies are files of the same bytes, or arrays of the same pixels; constant images are copies of
    nothing. Where patients are not known each image is one of its own, and its copies join it.
    """
    names, patient = np.unique(images.patients, return_inverse=True)
    _, content = np.unique(np.array(images.source.contents(images.rows)), return_inverse=True)
    # Patients and contents are the nodes, images the edges: who is connected stays together.
    size = len(names) + int(content.max()) + 1
    edges = coo_array((np.ones(len(images)), (patient, len(names) + content)), (size, size))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component[: len(names)], return_index=True)
    representative = dict(zip(component[first].tolist(), names[first], strict=True))
    return np.array([representative[c] for c in component[patient].tolist()], dtype=np.str_)
