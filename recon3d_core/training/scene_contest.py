"""`recon3d eval-scenes`: sweeps over composed scenes, and the variants of the pipeline in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import logging
from pathlib import Path
from typing import Any

import numpy as np
from recon3d_core.config import validate
from recon3d_core.data.scene_sweeps import SceneSweepConfig, SceneSweepSource
from recon3d_core.data.scenes.library import Library
from recon3d_core.errors import InputError, Recon3DError
from recon3d_core.training.pictures import write_png
from recon3d_core.training.progress import progress
from recon3d_core.training.run import check_writable
from recon3d_core.training.scene_pictures import draw_scene
from recon3d_core.training.scene_retrieval import OracleRetrieval
from recon3d_core.training.scene_runs import Run, run_pipeline, SceneObject
from recon3d_core.training.scene_scores import known_objects, KnownObject, SceneScore, score_scene
from recon3d_core.training.scene_tables import make_rows, scene_record, write
from recon3d_core.training.scene_variants import (
    check_names,
    config_of,
    reshaped,
    RETRIEVAL,
    VARIANTS,
)
from recon3d_core.types import Frame

logger = logging.getLogger(__name__)

MIN_OBJECTS, MAX_OBJECTS = 5, 10
_NUMBERS = 1_000_000


class SceneContest:
    """Judges variants on one scene after the other."""

    def __init__(
        self,
        variants: Sequence[str],
        *,
        frames: int = 30,
        config: str = 'tabletop_rgbd',
        overrides: Mapping[str, Any] | None = None,
        size: tuple[int, int] = (640, 480),
        retrieval_objects: int = 200,
        root: str = '',
    ) -> None:
        """Check what is asked for.

        Args:
            variants: Names of the variants.
            frames: Frames of a sweep.
            config: Name or file of the configuration.
            overrides: Nested options that replace the file's.
            size: Width and height of the images.
            retrieval_objects: Training objects that retrieval knows.
            root: Folder of the mesh collection; the recorded data where empty.

        Raises:
            InputError: A variant, an option, or the size or number of the images is wrong.
        """
        self.variants = check_names(variants)
        self.configs = {
            name: config_of(VARIANTS[name], config, overrides or {})
            for name in self.variants
            if name != RETRIEVAL
        }
        self.sweep: SceneSweepConfig = validate(
            SceneSweepConfig, {'frames': frames, 'width': size[0], 'height': size[1]}, 'scenes'
        )
        self.library = Library(root)
        self.retrieval = OracleRetrieval(self.library, retrieval_objects)

    def scenes(self, split: str, first: int = 0) -> Iterator[SceneSweepSource]:
        """Yield the sweeps of a split whose scene has 5 to 10 objects, from a number on.

        Raises:
            SourceError: There is no such split.
        """
        for number in range(first, _NUMBERS):
            source = SceneSweepSource(f'{split}:{number}', self.sweep, self.library)
            if MIN_OBJECTS <= len(source.objects) <= MAX_OBJECTS:
                yield source

    def judge(
        self, source: SceneSweepSource, picture: Path | None = None
    ) -> Mapping[str, SceneScore]:
        """Return the scores of all variants on a scene.

        Args:
            source: The sweep.
            picture: File for a picture of the results, or None.

        Raises:
            InputError: No object of the scene is in view.
        """
        frames = list(source)
        known = known_objects(frames)
        if not known:
            raise InputError(f'scene {source.uri}', 'no object in view', 'some')
        runs: dict[str, Run] = {}
        scores, found = {}, {}
        for name in self.variants:
            objects, run = self._objects(name, frames, known, runs)
            middle = frames[len(frames) // 2]
            score = score_scene(source.uri, source.scene.surroundings.kind, objects, known, middle)
            scores[name] = score if run is None else score.with_run(run)
            found[name] = objects
        if picture is not None:
            write_png(picture, draw_scene(frames[len(frames) // 2], known, found))
        return scores

    def _objects(
        self,
        name: str,
        frames: Sequence[Frame],
        known: Sequence[KnownObject],
        runs: dict[str, Run],
    ) -> tuple[Sequence[SceneObject], Run | None]:
        """Return what a variant finds; a run that serves several variants is made once."""
        if name == RETRIEVAL:
            return [self.retrieval.nearest(one.truth) for one in known], None
        variant, config = VARIANTS[name], self.configs[name]
        key = f'{variant.true_masks} {config.model_dump_json()}'
        if key not in runs:
            runs[key] = run_pipeline(frames, config, true_masks=variant.true_masks)
        eyes = np.stack([frame.pose[:3, 3] for frame in frames])
        return reshaped(runs[key], variant, eyes), runs[key]


def scene_contest(
    contest: SceneContest,
    count: int,
    *,
    split: str = 'test',
    first: int = 0,
    out: Path | None = None,
    json_path: Path | None = None,
    pictures: int = 4,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge variants on scenes and return the document that `--json` writes.

    Files are written after every scene, so that what was done is kept. A scene that fails is left
    out of all rows, and its reason is in the document.

    Args:
        contest: The variants.
        count: How many scenes.
        split: Split of the scenes.
        first: Number of the first scene that may be taken.
        out: Folder for the document as JSON and Markdown, and pictures; or None.
        json_path: File for the document, or None.
        pictures: Of how many scenes pictures are drawn.
        more: What else the document tells.

    Raises:
        InputError: The split, the first scene's number or a folder is wrong.
        RunError: A file cannot be written.
    """
    if not 0 <= first < _NUMBERS:
        raise InputError('number of the first scene', first, f'0 to {_NUMBERS - 1}')
    for folder in (out, json_path.absolute().parent if json_path else None):
        if folder is not None:
            check_writable(folder)
    judged: list[Mapping[str, SceneScore]] = []
    document: dict[str, Any] = {
        'schema': 1, 'data': 'scenes', 'split': split, 'frames': contest.sweep.frames,
        'variants': contest.variants, **(more or {}), 'rows': [], 'failed': [], 'scenes': [],
    }  # fmt: skip
    with progress(count, 0, 'eval-scenes', unit='scenes') as advance:
        for done, source in zip(range(count), contest.scenes(split, first)):
            picture = out / f'scene_{done:03}.png' if out and done < pictures else None
            try:
                scores = contest.judge(source, picture)
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises costs one scene
                reason = str(error) if isinstance(error, Recon3DError) else repr(error)
                logger.warning('scene %s is left out: %s', source.uri, reason)
                document['failed'].append({'scene': source.uri, 'reason': reason})
            else:
                judged.append(scores)
                document['scenes'].append(scene_record(scores))
                document['rows'] = make_rows(judged)
            write(document, out, json_path)
            advance(done + 1, f'{len(contest.variants)} variants')
    return document
