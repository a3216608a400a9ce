"""Files of a prediction: all of them, or none."""

from __future__ import annotations

import io
import json
from pathlib import Path
import shutil
import tempfile
from typing import Any

import numpy as np
from recon3d_core.errors import InputError, RunError
from recon3d_core.meshing.checks import is_watertight, volume_m3
from recon3d_core.meshing.export import write_atomically, write_glb, write_ply
from recon3d_core.prediction.predict import Prediction
from recon3d_core.prediction.preview import preview_png

SCHEMA = 1


def check_writable(out: Path) -> None:
    """Find out before the work whether its result can be kept.

    Raises:
        InputError: The folder, or the one that it would be made in, cannot be written.
    """
    if '\0' in str(out) or (out.exists() and not out.is_dir()):
        raise InputError('--out is no folder', repr(str(out)), 'a folder, or a name that is free')
    home = next((p for p in (out, *out.absolute().parents) if p.exists()), Path())
    try:
        Path(tempfile.mkdtemp(prefix='.recon3d_', suffix='.part', dir=home)).rmdir()
    except (OSError, ValueError) as error:
        raise InputError(
            '--out cannot be written', f'{home}: {error}', 'a folder that can be written'
        ) from error


def write(prediction: Prediction, out: Path) -> dict[str, Any]:
    """Write a prediction into a folder and return its summary.

    Everything is written into a folder beside it first: a disk that fills leaves what was there.

    Raises:
        RunError: It cannot be written.
    """
    summary = describe(prediction)
    draft: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', suffix='.part', dir=out.parent))
        write_ply(draft / 'object.ply', prediction.mesh)
        write_glb(draft / 'object.glb', prediction.mesh)
        write_atomically(draft / 'occupancy.npz', _occupancy(prediction))
        write_atomically(draft / 'preview.png', preview_png(prediction))
        text = json.dumps(summary, indent=2, allow_nan=False) + '\n'
        write_atomically(draft / 'summary.json', text.encode())
        out.mkdir(exist_ok=True)
        for path in sorted(draft.iterdir()):
            path.replace(out / path.name)
    except OSError as error:
        raise RunError(f'{out} cannot be written', error.strerror or str(error)) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return summary


def _occupancy(prediction: Prediction) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        occupancy=prediction.probabilities.astype(np.float16),
        threshold=prediction.threshold,
        T_world_grid=prediction.grid.T_world_grid,
        voxel_size_m=prediction.grid.voxel_size_m,
    )
    return stream.getvalue()


def describe(prediction: Prediction) -> dict[str, Any]:
    """Return the summary of a prediction, as summary.json has it."""
    mesh, confidence = prediction.mesh, prediction.confidence
    closed = is_watertight(mesh)
    return {
        'schema': SCHEMA,
        'model': prediction.model,
        'views_used': len(prediction.views),
        'confidence': round(confidence.value, 4),
        'confidence_parts': {
            'sharpness': round(confidence.sharpness, 4),
            'masks': round(confidence.masks, 4),
            'agreement': round(confidence.agreement, 4),
        },
        'advice': confidence.advice(len(prediction.views)),
        'expected_change': prediction.expected_change,
        'unit': 'm' if prediction.metric else 'edge of the cube',
        'size': np.ptp(mesh.vertices_m, axis=0).astype(float).tolist(),
        'watertight': closed,
        'volume': volume_m3(mesh) if closed else 0.0,
        'threshold': prediction.threshold,
        'notes': list(prediction.notes),
        'views': [
            {
                'file': str(view.path),
                'size_px': list(view.size),
                'mask': view.mask_source,
                'mask_confidence': round(view.mask_confidence, 4),
                'crop_xyxy_px': [round(value, 1) for value in view.box_xyxy],
                'notes': list(view.notes),
            }
            for view in prediction.views
        ],
        'weights': {
            'metrics': prediction.card.metrics,
            'data': prediction.card.data,
            'licence': prediction.card.licence,
            'network_threshold': prediction.card.threshold,
        },
    }
