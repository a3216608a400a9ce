"""Good files for `recon3d predict`, and the many ways in which they are broken."""

from __future__ import annotations

from collections.abc import Callable
import copy
import functools
import os
from pathlib import Path
import pickle
import shutil
import struct
import tempfile
import zipfile

import numpy as np
from predict_inputs import photo, posed_photos, random_weights, save_json, save_rgb
from recon3d_core.models.weights import save_weights, WeightsCard
import torch


@functools.cache
def good_files() -> tuple[Path, dict]:
    """Return a folder with two photos with poses and two without, and those poses."""
    folder = Path(tempfile.mkdtemp(prefix='recon3d_test_'))
    _, _, content = posed_photos(folder, 'box', 2)
    save_rgb(folder / 'good.png', photo())
    save_rgb(folder / 'good.jpg', photo())
    return folder, content


class Inputs:
    """Good files in a folder, which a case then breaks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(good_files()[0], folder, dirs_exist_ok=True)
        self.images = [folder / '0.png', folder / '1.png']
        self.content = good_files()[1]
        self.image, self.jpeg = folder / 'good.png', folder / 'good.jpg'
        self.out = folder / 'out'

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def changed(self, at: int, data: bytes, source: str = 'image') -> Path:
        whole = bytearray(getattr(self, source).read_bytes())
        whole[at : at + len(data)] = data
        return self.file('changed' + getattr(self, source).suffix, bytes(whole))

    def mask(self, height: int, width: int, value: int = 255) -> Path:
        return save_rgb(self.folder / 'mask.png', np.full((height, width), value, np.uint8))

    def posed(self, change: Callable[[dict], object]) -> list[object]:
        content = copy.deepcopy(self.content)
        content = change(content) or content
        path = save_json(self.folder / 'poses.json', content)
        return self.with_poses(path)

    def with_poses(self, path: Path) -> list[object]:
        return [*self.images, '--poses', path, '--weights', random_weights('posed_fusion')]

    def pose_text(self, text: str | bytes) -> list[object]:
        data = text.encode() if isinstance(text, str) else text
        return self.with_poses(self.file('poses.json', data))

    def one(self, path: object, *more: object) -> list[object]:
        return [path, *more, '--weights', random_weights('pix2vox_s')]

    def weights(self, path: object, name: str = 'pix2vox_s') -> list[object]:
        return [self.image, '--model', name, '--weights', path]


def set_pose(row: int, column: int, value: float) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content['views'][1]['T_world_camera'][row][column] = value

    return change


def set_K(row: int, column: int, value: float) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content['views'][0]['K'][row][column] = value

    return change


def with_cube(**values: object) -> Callable[[dict], None]:
    cube = {'center': [0, 0, 0], 'edge': 0.3, 'up': [0, 0, 1], **values}
    return lambda content: content.update(cube=cube)


def scaled_rotation(content: dict) -> None:
    T = np.array(content['views'][0]['T_world_camera'])
    T[:3, :3] *= 1.3
    content['views'][0]['T_world_camera'] = T.tolist()


def mirrored(content: dict) -> None:
    T = np.array(content['views'][0]['T_world_camera'])
    T[:3, 0] *= -1
    content['views'][0]['T_world_camera'] = T.tolist()


def turned_away(content: dict) -> None:
    for view in content['views']:
        T = np.array(view['T_world_camera'])
        T[:3, [0, 2]] *= -1
        view['T_world_camera'] = T.tolist()


def same_place(content: dict) -> None:
    content['views'][1] = content['views'][0]


class Malice:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f'touch {self.marker}',)


def malicious(inputs: Inputs, name: str) -> Path:
    path = inputs.folder / name
    path.write_bytes(pickle.dumps(Malice(str(inputs.folder / 'EXECUTED'))))
    return path


def malicious_torch(inputs: Inputs) -> Path:
    path = inputs.folder / 'bad.pt'
    torch.save({'encoder': Malice(str(inputs.folder / 'EXECUTED'))}, path)
    return path


def other_tensors(inputs: Inputs, change: Callable[[dict], None], **card: object) -> Path:
    from safetensors.torch import load_file

    state = load_file(random_weights('pix2vox_s'))
    change(state)
    path = inputs.folder / 'other.safetensors'
    values = {'model': 'pix2vox_s', 'config': {'image_size': 96}, **card}
    save_weights(path, state, WeightsCard(**values))
    return path


def nan_weights(state: dict) -> None:
    for value in state.values():
        if value.is_floating_point():
            value.fill_(float('nan'))


def bomb(inputs: Inputs) -> Path:
    path = inputs.folder / 'bomb.png'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x', b'\0' * 100000)
    return path


def huge_jpeg(inputs: Inputs) -> Path:
    data = bytearray(inputs.jpeg.read_bytes())
    at = data.index(b'\xff\xc0')
    data[at + 5 : at + 9] = struct.pack('>HH', 65500, 65500)
    return inputs.file('huge.jpg', bytes(data))
