"""The detectors of transformers and torchvision, on small networks that are made here."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from recon3d_core import registry
from recon3d_core.config import validate
from recon3d_core.detection.adapters.base import BoxesConfig, BoxesDetector, Found
from recon3d_core.errors import ConfigError, FrameError, PluginError
from recon3d_core.geometry.cameras import Camera
from recon3d_core.types import Frame
import torch

CAMERA = Camera(96, 64, 90.0, 90.0, 47.5, 31.5)


def frame() -> Frame:
    rgb = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    return Frame(0, CAMERA, rgb, np.ones((64, 96), np.float32), np.eye(4))


def made(name: str, **options):
    kind = registry.load('detector', name)
    return kind(validate(kind.Config, {'min_pixels': 1, **options}))


@pytest.mark.parametrize(
    ('name', 'module'),
    [
        ('transformers', 'transformers'),
        ('torchvision', 'torchvision.models.detection'),
        ('topic', 'vision_msgs.msg'),
    ],
)
def test_a_missing_library_is_told_in_one_line(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PluginError, match='Install it') as caught:
        made(name)
    assert '\n' not in str(caught.value)


class Said(BoxesDetector):
    """A detector that says what it is told to say."""

    name = 'said'

    def find(self, rgb):
        return self.said


def said(found: Found, **options):
    detector = Said(validate(BoxesConfig, {'min_pixels': 1, 'masks': 'box', **options}))
    detector.said = found
    return detector.detect(frame()).items


@pytest.mark.parametrize(
    'found',
    [
        Found(np.full((1, 4), np.nan), np.array([0.9]), ['a']),
        Found(np.zeros((1, 4)), np.array([np.inf]), ['a']),
        Found(np.zeros((1, 4)), np.array([1.5]), ['a']),
        Found(np.zeros((2, 4)), np.array([0.9]), ['a']),
        Found(np.zeros((1, 4)), np.array([0.9]), ['a'], [np.ones((4, 4), bool)]),
    ],
)
def test_what_is_no_detection_drops_the_frame(found):
    with pytest.raises(FrameError) as caught:
        said(found)
    assert caught.value.reason == 'bad_detections'


def test_boxes_beyond_the_image_are_cut_and_those_outside_left_out():
    boxes = np.array([[-9, 2.4, 5, 7.6], [96, 0, 120, 9], [5, 5, 2, 9], [1e9, 1e9, 2e9, 2e9]])
    [item] = said(Found(boxes, np.full(4, 0.9), list('abcd')))
    assert (item.label, item.box_xyxy, item.truncated) == ('a', (0, 2, 4, 7), True)
    assert len(item.points_world_m) == item.mask.sum() == 5 * 6
    # A pixel's centre is at an integer; points at 1 m tell the mask again.
    pixels = CAMERA.project(item.points_world_m)
    np.testing.assert_allclose(pixels.min(0), (0, 2), atol=1e-4)
    np.testing.assert_allclose(pixels.max(0), (4, 7), atol=1e-4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    # Importing it takes seconds; where it is absent, nothing else is missed.
    if importlib.util.find_spec('transformers') is None:
        pytest.skip('transformers is not installed (extra `transformers`)')
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    path = tmp_path_factory.mktemp('models') / 'yolos'
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 96],
        num_detection_tokens=5,
        id2label={0: 'cup', 1: 'bowl'},
        label2id={'cup': 0, 'bowl': 1},
    )
    network = YolosForObjectDetection(config)
    with torch.no_grad():  # one box for all queries: a cup, in the middle
        network.class_labels_classifier.layers[-1].weight.zero_()
        network.class_labels_classifier.layers[-1].bias.copy_(torch.tensor([2.0, 0, 0]))
        network.bbox_predictor.layers[-1].weight.zero_()
        network.bbox_predictor.layers[-1].bias.copy_(torch.tensor([0.0, 0, 0, 0]))
    network.save_pretrained(path)
    YolosImageProcessorPil(size={'height': 64, 'width': 96}).save_pretrained(path)
    return path


class TestTransformers:
    """A YOLOS of a few thousand weights, saved and loaded as a user's."""

    def test_boxes_come_back_to_the_pixel(self, folder):
        items = made('transformers', model=str(folder), masks='box').detect(frame()).items
        assert len(items) == 5
        assert {item.label for item in items} == {'cup'}
        score = np.exp(2) / (np.exp(2) + 2)
        assert items[0].score == pytest.approx(score, abs=1e-5)
        assert items[0].box_xyxy == (24, 16, 71, 47)  # the middle half
        none = made('transformers', model=str(folder), min_score=0.9).detect(frame())
        assert none.items == ()

    def test_other_folders_and_classes(self, folder, tmp_path):
        with pytest.raises(ConfigError, match='cannot be loaded'):
            made('transformers', model=str(tmp_path))
        with pytest.raises(ConfigError, match='a folder that exists'):
            made('transformers', model='facebook/detr-resnet-50')
        with pytest.raises(ConfigError, match="Did you mean 'cup'"):
            made('transformers', model=str(folder), classes=['cups'])


class TestTorchvision:
    """A Mask R-CNN of random weights, from a file."""

    def test_masks_and_other_files(self, tmp_path):
        reason = 'torchvision is not installed (extra `torchvision`)'
        library = pytest.importorskip('torchvision.models.detection', reason=reason)
        torch.manual_seed(0)
        network = library.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
        path = tmp_path / 'weights.pth'
        torch.save(network.state_dict(), path)
        names = ['cup', 'bowl']
        found = made('torchvision', weights=str(path), names=names, min_score=0.0).detect(frame())
        assert {item.label for item in found.items} <= set(names)
        with torch.inference_mode():
            image = torch.from_numpy(frame().rgb).permute(2, 0, 1).float() / 255
            [wanted] = network.eval()([image])
        scores = sorted((item.score for item in found.items), reverse=True)
        kept = [m.any().item() for m in wanted['masks'][:, 0] > 0.5]
        np.testing.assert_allclose(
            scores, wanted['scores'].numpy()[kept][: len(scores)], atol=1e-6
        )
        torch.save({'other': torch.zeros(1)}, path)
        with pytest.raises(ConfigError, match=r'no roi_heads\.box_predictor'):
            made('torchvision', weights=str(path))
