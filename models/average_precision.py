"""detections and what is really there → average precision, as COCO defines it.

Everyone's figures of detectors are those of its evaluation (Lin et al. 2014, "Microsoft COCO"),
which pycocotools has.
"""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from service.tasks.object_detection import Detection

AT_HALF, OVER_ALL = "IoU 0.50", "IoU 0.50:0.95"
"""How much a detection must overlap with what it finds; the mean over ten such thresholds."""


def _as_coco(pictures: Sequence[Sequence[Detection]], labels: Sequence[str]) -> COCO:
    """Ids count from 1: an object of id 0 is taken for one that was not found."""
    data = COCO()
    data.dataset = {
        "images": [{"id": picture} for picture in range(len(pictures))],
        "categories": [{"id": label} for label in range(len(labels))],
        "annotations": [
            {
                "image_id": picture,
                "category_id": labels.index(one.label),
                "score": one.score,
                "bbox": [box.xmin, box.ymin, box.xmax - box.xmin, box.ymax - box.ymin],
                "area": (box.xmax - box.xmin) * (box.ymax - box.ymin),
                "iscrowd": 0,
            }
            for picture, detections in enumerate(pictures)
            for one in detections
            for box in [one.box]
        ],
    }
    for number, annotation in enumerate(data.dataset["annotations"], 1):
        annotation["id"] = number
    data.createIndex()
    return data


def average_precision(
    found: Sequence[Sequence[Detection]], there: Sequence[Sequence[Detection]]
) -> dict[str, float]:
    """Per cent, the mean over the labels of what is there; of each picture the surest 100 count."""
    labels = sorted({one.label for picture in (*found, *there) for one in picture})
    with redirect_stdout(StringIO()):  # it tells every step
        evaluated = COCOeval(_as_coco(there, labels), _as_coco(found, labels), "bbox")
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    over_all, at_half = evaluated.stats[:2]
    return {AT_HALF: 100 * float(at_half), OVER_ALL: 100 * float(over_all)}
