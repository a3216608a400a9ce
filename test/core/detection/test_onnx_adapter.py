"""The detector of ONNX files, on files that are made here: from the image to masks, to the pixel."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed (extra `onnx`)')

from onnx import helper, numpy_helper, TensorProto
from recon3d_core.config import validate
from recon3d_core.detection.adapters.onnx import OnnxConfig, OnnxDetector
from recon3d_core.errors import ConfigError, FrameError, InputError, PluginError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.types import Frame

INPUT = 64
NAMES = "{0: 'cup', 1: 'bowl'}"
RED = (204, 51, 51)


def write(path, outputs, nodes=(), constants=None, names=NAMES, extra=False, size=INPUT):
    """Write a network whose outputs are constants, or what the nodes compute from `images`."""
    arrays = {**(constants or {}), **{k: v for k, v in outputs.items() if v is not None}}
    made = {name for node in nodes for name in node.output}
    arrays = {k: np.asarray(v) for k, v in arrays.items() if k not in made}
    # An output may not be a constant itself.
    copies = [helper.make_node('Identity', [f'{k}_'], [k]) for k in outputs if k in arrays]
    stored = [
        numpy_helper.from_array(v, f'{k}_' if k in outputs else k) for k, v in arrays.items()
    ]
    inputs = [helper.make_tensor_value_info('images', TensorProto.FLOAT, [1, 3, size, size])]
    if extra:
        inputs.append(
            helper.make_tensor_value_info('orig_target_sizes', TensorProto.INT64, [1, 2])
        )
    ends = [
        helper.make_tensor_value_info(
            k, helper.np_dtype_to_tensor_dtype(arrays[k].dtype) if k in arrays else 1, None
        )
        for k in outputs
    ]
    graph = helper.make_graph([*nodes, *copies], 'made', inputs, ends, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    if names:
        helper.set_model_props(model, {'names': names})
    path.write_bytes(model.SerializeToString())
    return path


def detector(path, **options):
    options = {'model': str(path), 'min_pixels': 1, 'masks': 'box', **options}
    return OnnxDetector(validate(OnnxConfig, options))


def frame_of(width=100, height=60, color=RED, depth=None):
    rgb = np.full((height, width, 3), color, np.uint8)
    return Frame(0, Camera(width, height, 90.0, 90.0, width / 2, height / 2), rgb, depth)


def rows_of(boxes, anchors=16):
    """Return (N, 4 + classes) of [(x0, y0, x1, y1, scores...)], input pixels, zeros after them."""
    rows = np.zeros((anchors, 6), np.float32)
    for row, (x0, y0, x1, y1, *scores) in zip(rows, boxes):
        row[:] = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, *scores)
    return rows


# 100 x 60 becomes 64 x 38 at a factor of .64 x .6333, with 13 rows of border above.
TWO = [
    (6.4, 13 + 3.8, 32, 13 + 19, 0.9, 0.1),  # 10, 6, 50, 30 in the image
    (7.0, 13 + 3.8, 32, 13 + 19, 0.8, 0.1),  # the same again, less certain
    (7.0, 13 + 3.8, 32, 13 + 19, 0.1, 0.7),  # of another class
    (40, 20, 50, 40, 0.3, 0.2),  # too uncertain
    (57.6, 13 + 30.4, 90, 80, 0.0, 0.6),  # 90, 48 and on beyond the image
]
WANTED = [
    ('cup', 0.9, (10, 6, 49, 29)),
    ('bowl', 0.7, (11, 6, 49, 29)),
    ('bowl', 0.6, (90, 48, 99, 59)),
]


def with_objectness(rows):
    return np.concatenate(
        [rows[:, :4], np.full((len(rows), 1), 0.5, np.float32), rows[:, 4:] * 2], 1
    )


def suppressed(boxes):
    """Return (N, 6): edges, score and class, as exports that suppress by themselves do."""
    rows = np.zeros((300, 6), np.float32)
    for row, (*edges, cup, bowl) in zip(rows, boxes):
        row[:] = (*edges, max(cup, bowl), bowl > cup)
    return rows


@pytest.mark.parametrize('kind', ['columns', 'rows with objectness', 'after suppression'])
def test_yolo_boxes_come_back_to_the_pixel(tmp_path, kind):
    rows = rows_of(TWO)
    output = {
        'columns': rows.T[None],
        'rows with objectness': with_objectness(rows)[None],
        'after suppression': suppressed(TWO)[None],
    }[kind]
    made = detector(write(tmp_path / 'm.onnx', {'output0': output}))
    assert made.layout == 'yolo'
    items = made.detect(frame_of()).items
    assert [(i.label, pytest.approx(i.score, abs=1e-6), i.box_xyxy) for i in items] == WANTED
    x0, y0, x1, y1 = WANTED[0][2]
    assert items[0].mask.sum() == (x1 - x0 + 1) * (y1 - y0 + 1)
    assert [item.truncated for item in items] == [False, False, True]
    only = detector(tmp_path / 'm.onnx', classes=['bowl'], min_score=0.65)
    assert [item.box_xyxy for item in only.detect(frame_of()).items] == [WANTED[1][2]]


def red_scores():
    """Return nodes that multiply scores by how red the image is."""
    return [
        helper.make_node('Gather', ['images', 'first'], ['red'], axis=1),
        helper.make_node('ReduceMax', ['red'], ['most'], keepdims=0),
        helper.make_node('Mul', ['scores', 'most'], ['weighed']),
        helper.make_node('Concat', ['boxes', 'weighed'], ['output0'], axis=1),
    ]


def test_the_image_arrives_as_rgb_within_0_to_1(tmp_path):
    rows = rows_of([(10, 20, 30, 40, 1.0, 0.0)]).T[None]
    parts = {'boxes': rows[:, :4], 'scores': rows[:, 4:], 'first': np.array([0])}
    path = write(tmp_path / 'm.onnx', {'output0': None}, red_scores(), parts)
    made = detector(path, min_score=0.01)
    [item] = made.detect(frame_of(color=(204, 0, 0))).items
    assert item.score == pytest.approx(204 / 255)
    [item] = made.detect(frame_of(color=(0, 0, 204))).items
    assert item.score == pytest.approx(114 / 255)  # the border's gray


def test_yolo_seg_masks_come_back_to_the_pixel(tmp_path):
    """The prototype is how red a pixel is; image of 128 x 96, input of half the size."""
    rows = np.concatenate([rows_of([(8, 16, 40, 48, 0.9, 0.0)], 48), np.zeros((48, 32))], 1)
    rows[0, 6] = 1.0
    weights = np.zeros((32, 3, 1, 1), np.float32)
    weights[0, 0] = 1.0
    bias = np.zeros(32, np.float32)
    bias[0] = -0.5
    nodes = [helper.make_node('Conv', ['images', 'weights', 'bias'], ['output1'])]
    outputs = {'output0': rows.T[None].astype(np.float32), 'output1': None}
    path = write(tmp_path / 'm.onnx', outputs, nodes, {'weights': weights, 'bias': bias})
    made = detector(path)
    assert made.layout == 'yolo_seg'
    frame = frame_of(128, 96, (0, 0, 0))
    frame.rgb[30:60, 20:50] = 255
    frame.rgb[10:14, 100:110] = 255  # outside the box
    [item] = made.detect(frame).items
    wanted = np.zeros((96, 128), bool)
    wanted[30:60, 20:50] = True
    np.testing.assert_array_equal(item.mask, wanted)
    assert item.box_xyxy == (20, 30, 49, 59)


@pytest.mark.parametrize('kind', ['logits', 'labels', 'one'])
def test_rtdetr_boxes_come_back_to_the_pixel(tmp_path, kind):
    """Images are stretched to the input, without a border."""
    middles = np.array([[0.3, 0.3, 0.4, 0.4], [0.75, 0.5, 0.3, 0.2]], np.float32)
    scores = np.array([[0.9, 0.2], [0.1, 0.6]], np.float32)
    if kind == 'logits':
        logits = np.log(scores / (1 - scores))
        outputs = {'logits': logits[None], 'pred_boxes': middles[None]}
    elif kind == 'labels':
        half = middles[:, 2:] / 2
        edges = np.concatenate([middles[:, :2] - half, middles[:, :2] + half], 1) * INPUT
        outputs = {
            'labels': np.array([[0, 1]]),
            'boxes': edges[None],
            'scores': scores.max(1)[None],
        }
    else:
        outputs = {'output0': np.concatenate([middles, scores], 1)[None]}
    path = write(tmp_path / 'm.onnx', outputs, extra=kind == 'labels', names=None)
    layout = 'rtdetr' if kind == 'one' else 'auto'
    made = detector(path, layout=layout, names=['cup', 'bowl'])
    assert made.layout == 'rtdetr'
    items = made.detect(frame_of()).items
    assert [(i.label, pytest.approx(i.score, abs=1e-5), i.box_xyxy) for i in items] == [
        ('cup', 0.9, (10, 6, 49, 29)),
        ('bowl', 0.6, (60, 24, 89, 35)),
    ]


def test_boxes_get_masks_of_depth(tmp_path):
    path = write(tmp_path / 'm.onnx', {'output0': rows_of(TWO[:1]).T[None]})
    depth = np.full((60, 100), 1.0, np.float32)
    depth[10:26, 16:44] = 0.7
    frame = frame_of(depth=depth)
    frame.rgb[...] = 128
    [item] = detector(path, masks='auto').detect(frame).items
    wanted = np.zeros((60, 100), bool)
    wanted[10:26, 16:44] = True
    assert (item.mask & wanted).sum() / (item.mask | wanted).sum() > 0.85


def test_numbers_that_are_not_finite_drop_the_frame(tmp_path):
    rows = rows_of([(10, 20, 30, 40, 1.0, 0.0)]).T[None]
    parts = {'boxes': rows[:, :4], 'scores': rows[:, 4:], 'first': np.array([0])}
    nodes = red_scores()
    # The root of what is below 0 where the image is bright.
    nodes[2:3] = [
        helper.make_node('Sub', ['half', 'most'], ['less']),
        helper.make_node('Sqrt', ['less'], ['root']),
        helper.make_node('Mul', ['scores', 'root'], ['weighed']),
    ]
    parts['half'] = np.array(0.5, np.float32)
    made = detector(write(tmp_path / 'm.onnx', {'output0': None}, nodes, parts))
    with pytest.raises(FrameError, match='not finite') as caught:
        made.detect(frame_of())
    assert caught.value.reason == 'bad_detections'
    dark = np.array(made.detect(frame_of(64, 64, color=(25, 0, 0))).items, object)  # it goes on
    assert [item.score for item in dark] == [pytest.approx(np.sqrt(0.5 - 25 / 255), abs=1e-6)]


def refused(path, kind=InputError, **options):
    with pytest.raises(kind) as caught:
        detector(path, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_what_is_no_such_network_is_told_in_one_line(tmp_path):
    (tmp_path / 'text.onnx').write_text('no network')
    assert 'no ONNX network' in refused(tmp_path / 'text.onnx', ConfigError)
    assert 'detector.model' in refused('', ConfigError)
    other = write(tmp_path / 'other.onnx', {'features': np.zeros((1, 512), np.float32)})
    text = refused(other)
    assert 'features (1, 512)' in text
    assert '(1, 4+C, N)' in text
    assert '(1, N, 5+C)' in text
    yolo = write(tmp_path / 'yolo.onnx', {'output0': rows_of(TWO).T[None]})
    assert 'as yolo_seg, got output0 (1, 6, 16)' in refused(yolo, layout='yolo_seg')
    assert "Did you mean 'cup'" in refused(yolo, ConfigError, classes=['cups'])


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / 'm.onnx', {'output0': rows_of(TWO).T[None]})
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert 'pip install onnxruntime' in refused(path, PluginError)
