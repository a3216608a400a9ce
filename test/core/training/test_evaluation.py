"""Judging networks and baselines: the numbers are right, and what is wrong is said in a line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from recon3d_core import metrics
from recon3d_core.cli.main import exit_code
from recon3d_core.data.samples import collate
from recon3d_core.errors import InputError
from recon3d_core.models.weights import save_weights, WeightsCard
from recon3d_core.training.contest import BASELINES, contest, labels
from recon3d_core.training.evaluation import (
    chamfer_of_nothing,
    Contestant,
    Cost,
    measure,
    order_sensitivity,
    Score,
    stream,
    tensor_bytes,
)
from recon3d_core.training.pictures import render_volume
from recon3d_core.training.tables import make_rows
from recon3d_core.training.validation import spread
import solids
import torch

COLUMNS = {
    'model', 'views', 'category', 'iou', 'fscore', 'chamfer', 'map', 'ms', 'memory_mb',
    'parameters', 'order_sensitivity',
}  # fmt: skip


pytestmark = pytest.mark.usefixtures('solid_plugins')


def write_tiny(path, threshold=0.4, seed=0):
    torch.manual_seed(seed)
    model = solids.Tiny().eval()
    save_weights(path, model.state_dict(), WeightsCard('tiny', threshold=threshold))
    model.threshold = threshold
    return model


@pytest.fixture(scope='module')
def judged(tmp_path_factory):
    """Return the folder of an evaluation of a random network and all baselines."""
    folder = tmp_path_factory.mktemp('judged')
    write_tiny(folder / 'tiny.safetensors')
    patch = pytest.MonkeyPatch()
    patch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
    words = ['eval', f'tiny={folder}/tiny.safetensors', '--data', 'solids', '--views', '5,1,2']
    words += ['--json', str(folder / 'rows.json'), '--out', str(folder / 'out')]
    assert exit_code(words) == 0
    patch.undo()
    return folder


def rows_of(folder, **wanted):
    rows = json.loads((folder / 'rows.json').read_text())['rows']
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_the_json_keeps_its_contract(judged):
    document = json.loads((judged / 'rows.json').read_text())
    assert {'schema', 'data', 'split', 'threshold', 'rows'} <= set(document)
    assert (document['schema'], document['data'], document['split']) == (1, 'solids', 'test')
    assert document['threshold'] == 0.4, "the network's own, fixed before"
    assert all(set(row) == COLUMNS for row in document['rows'])
    keys = [(row['model'], row['views'], row['category']) for row in document['rows']]
    models = {'tiny', *BASELINES}
    assert set(keys) == {
        (m, v, c) for m in models for v in (1, 2, 5) for c in ('all', 'box', 'ellipsoid')
    }
    assert len(set(keys)) == len(keys)


def test_files_for_people_are_there(judged):
    names = {path.name for path in (judged / 'out').iterdir()}
    assert {'eval.json', 'eval.md', 'iou_over_views.png', 'samples_0_tiny.png'} <= names
    text = (judged / 'out' / 'eval.md').read_text()
    assert '| visual_hull | 5 |' in text
    assert 'ellipsoid' in text


def test_the_iou_is_that_of_a_plain_loop(judged):
    model = write_tiny(judged / 'again.safetensors')
    data = solids.Solids('', solids.SolidsConfig())
    found = {'box': [], 'ellipsoid': []}
    for name in data.names('test'):
        sample = data.sample(name, 2)
        batch = collate([sample])
        with torch.no_grad():
            inside = model(model.preprocess(batch.images))[0].numpy() >= 0.4
        both, either = inside & sample.occupancy, inside | sample.occupancy
        found[sample.category].append(both.sum() / either.sum())
    for category, values in found.items():
        [row] = rows_of(judged, model='tiny', views=2, category=category)
        assert row['iou'] == pytest.approx(np.mean(values), abs=1e-5)
    [row] = rows_of(judged, model='tiny', views=2, category='all')
    assert row['iou'] == pytest.approx(np.mean(np.concatenate(list(found.values()))), abs=1e-5)


def test_what_must_hold_between_the_baselines_holds(judged):
    for views in (1, 2, 5):
        [oracle] = rows_of(judged, model='oracle_retrieval', views=views, category='all')
        [nearest] = rows_of(judged, model='retrieval', views=views, category='all')
        assert oracle['iou'] >= nearest['iou']
    hull = [rows_of(judged, model='visual_hull', views=v, category='all')[0] for v in (1, 2, 5)]
    assert hull[0]['iou'] < hull[1]['iou'] < hull[2]['iou']
    assert hull[2]['iou'] > 0.7
    assert len({row['iou'] for row in rows_of(judged, model='mean_shape', category='all')}) == 1


def test_costs_are_of_the_right_size(judged):
    [row] = rows_of(judged, model='tiny', views=5, category='all')
    model = solids.Tiny()
    assert row['parameters'] == sum(p.numel() for p in model.parameters())
    assert row['memory_mb'] == pytest.approx(4 * row['parameters'] / 2**20, rel=0.02)
    assert row['ms'] > 0
    assert row['order_sensitivity'] < 1e-5
    assert rows_of(judged, model='tiny', views=1)[0]['order_sensitivity'] == 0


class Forgetful(solids.Tiny):
    """Weighs later views more, as a recurrent network does."""

    def observe(self, state, view, camera=None):
        total, count = state
        return 0.5 * total + self._features(view[:, None])[:, 0], count + 1


def test_a_network_that_heeds_the_order_is_found_out():
    data = solids.Solids('', solids.SolidsConfig())
    batch = collate([data.sample(name, 4) for name in data.names('test')[:2]])
    torch.manual_seed(0)
    assert order_sensitivity(solids.Tiny().eval(), batch) < 1e-5
    torch.manual_seed(0)
    assert order_sensitivity(Forgetful().eval(), batch) > 1e-3


def test_every_view_is_taken_in_once():
    class Counting(solids.Tiny):
        seen = 0

        def observe(self, state, view, camera=None):
            self.seen += 1
            return super().observe(state, view, camera)

    data = solids.Solids('', solids.SolidsConfig())
    batch = collate([data.sample(name, 6) for name in data.names('test')[:3]])
    model = Counting().eval()
    volumes = dict(stream(model, batch, [1, 4, 6]))
    assert model.seen == 6
    for count, volume in volumes.items():
        with torch.no_grad():
            whole = model(model.preprocess(batch.images[:, :count]))
        torch.testing.assert_close(volume, whole, atol=1e-6, rtol=0)


def test_time_is_measured_for_single_views():
    data = solids.Solids('', solids.SolidsConfig())
    samples = [data.sample(name, 3) for name in data.names('test')[:2]]
    cost = measure(Contestant('tiny', solids.SlowView().eval(), 0.5), samples, [1, 3])
    assert all(45 <= ms <= 2000 for ms in cost.ms.values())


def test_bytes_of_any_state():
    class State:
        def __init__(self):
            self.volume = torch.zeros(10)

    assert tensor_bytes((State(), [torch.zeros(2, dtype=torch.uint8)], {'a': 3})) == 42


def test_nothing_predicted_counts_as_a_point_in_the_centre():
    surface = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    truth = float(metrics.chamfer(np.zeros((1, 3)), surface))
    assert chamfer_of_nothing(surface) == pytest.approx(truth, rel=1e-5)


def test_means_skip_what_was_not_scored():
    scores = [Score('m', 1, 'a', 0.2, None, None, 0.1), Score('m', 1, 'b', 0.6, 0.5, 0.1, 0.3)]
    [everything, a, b] = make_rows(scores, {'m': Cost({1: 0.0}, {1: 0.0}, 0, {1: 0.0})})
    assert (everything['category'], a['category'], b['category']) == ('all', 'a', 'b')
    assert everything['iou'] == pytest.approx(0.4)
    assert everything['fscore'] == 0.5
    assert a['fscore'] is None


def test_names_are_spread_over_all():
    names = [f'{k:03d}' for k in range(100)]
    assert spread(names, 4) == ['000', '033', '066', '099']
    assert spread(names, 1000) == names


def test_labels_are_short_where_they_can_be():
    assert labels(['a=x', 'b']) == {'a': 'a=x', 'b': 'b'}
    assert labels(['a=x', 'a=y']) == {'a=x': 'a=x', 'a=y': 'a=y'}


def test_a_drawn_volume_is_where_its_camera_sees_it():
    """A block in the upper right corner of the picture, lit from above."""
    volume = torch.zeros(16, 16, 16)
    volume[10:14, 2:6, 10:14] = 1
    R = torch.from_numpy(solids.orbit_pose(0.0, 0.0)[:3, :3].astype(np.float32))
    picture = render_volume(volume, 0.5, R, 64)
    drawn = (picture != 255).any(-1)
    rows, columns = np.nonzero(drawn)
    corner = np.array([[0.25, -0.25, 0.25]]) @ R.numpy().T  # the block's centre
    expected = (corner[0, :2] / 1.5 + 0.5) * 64
    assert columns.mean() == pytest.approx(expected[0], abs=1.5)
    assert rows.mean() == pytest.approx(expected[1], abs=1.5)
    assert drawn.mean() == pytest.approx((4 / 16 / 1.5) ** 2, rel=0.25)


BAD = {
    'no such model': ['nothing'],
    'no weights shipped': ['tiny'],
    'empty weights': ['tiny='],
    'no such file': ['tiny=nothing.safetensors'],
    'text as weights': ['tiny=TEXT'],
    'pickle with code': ['tiny=EVIL'],
    'weights of another network': ['tiny=OTHER'],
    'other shapes': ['tiny=SHAPES'],
    'a lacking key': ['tiny=LACKING'],
    'weights that are not finite': ['tiny=NAN'],
    'weights of a baseline': ['mean_shape=GOOD'],
    'no such data': ['tiny=GOOD', '--data', 'nothing'],
    'NaN in a pose': ['tiny=GOOD', '--set', 'broken=nan pose'],
    'unknown option of the data': ['tiny=GOOD', '--set', 'colour=red'],
    'other resolution': ['tiny=GOOD', '--set', 'resolution=32'],
    'images of another size': ['tiny=GOOD', '--set', 'image_size=48'],
    'no such split': ['tiny=GOOD', '--split', 'holiday'],
    'no views': ['tiny=GOOD', '--views', ''],
    'views zero': ['tiny=GOOD', '--views', '0'],
    'views in words': ['tiny=GOOD', '--views', 'many'],
    'negative views': ['tiny=GOOD', '--views', '-1'],
    'more views than there are': ['tiny=GOOD', '--views', '1,9'],
    'negative limit': ['tiny=GOOD', '--limit', '-3'],
    'a file as folder': ['tiny=GOOD', '--out', 'TEXT'],
    'JSON below a file': ['tiny=GOOD', '--json', 'TEXT/rows.json'],
    'no such device': ['tiny=GOOD', '--device', 'tpu'],
}


class Evil:
    """Would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Return files that are no weights of `tiny`, and one that is."""
    folder = tmp_path_factory.mktemp('files')
    good = write_tiny(folder / 'good.safetensors').state_dict()
    (folder / 'text.safetensors').write_text('weights')
    torch.save({'encoder': Evil(folder / 'ran')}, folder / 'evil.pt')
    save_weights(folder / 'other.safetensors', good, WeightsCard('pix2vox_s'))
    wrong = {**good, 'decoder.1.bias': torch.zeros(3)}
    save_weights(folder / 'shapes.safetensors', wrong, WeightsCard('tiny'))
    lacking = {key: value for key, value in good.items() if key != 'decoder.1.bias'}
    save_weights(folder / 'lacking.safetensors', lacking, WeightsCard('tiny'))
    nan = {**good, 'decoder.1.bias': torch.full_like(good['decoder.1.bias'], math.nan)}
    save_weights(folder / 'nan.safetensors', nan, WeightsCard('tiny'))
    return folder


@pytest.mark.parametrize('arguments', BAD.values(), ids=BAD)
def test_bad_input_is_an_error_of_one_line(tmp_path, files, capsys, arguments):
    def place(word):
        for path in files.iterdir():
            word = word.replace(path.stem.upper(), str(path))
        return word

    words = ['eval', *map(place, arguments), '--no-baselines']
    for option, value in (('--data', 'solids'), ('--views', '1,2'), ('--limit', '6')):
        words += [] if option in words else [option, value]
    for option in ('--out', '--json'):
        words += [] if option in words else [option, str(tmp_path / option[2:])]
    assert exit_code(words) == 2, words
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line.startswith('error: ')]) == 1, said
    assert not [line for line in said if 'Traceback' in line]
    assert not list(tmp_path.rglob('*.json'))
    assert not (tmp_path / 'json').exists()
    assert not (files / 'ran').exists()


def test_networks_of_different_resolution_do_not_share_a_table(tmp_path):
    torch.manual_seed(0)
    for n in (8, 16):
        model = solids.Tiny(solids.TinyConfig(resolution=n))
        card = WeightsCard('tiny', config={'resolution': n})
        save_weights(tmp_path / f'{n}.safetensors', model.state_dict(), card)
    models = [f'tiny={tmp_path}/{n}.safetensors' for n in (8, 16)]
    with pytest.raises(InputError, match='different resolution'):
        contest(models, 'solids', views=[1])
