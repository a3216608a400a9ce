"""The published networks once more, plainly: functions of a dictionary of weights, in a loop.

Written from the papers' tables, for tests and benchmarks only: one view after the other through
encoder, decoder and merger, as the published code does, in the published order of axes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def lively(model, seed=0):
    """Give the weights values that make the output depend on everything."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(('running_mean', 'bias')):
            tensor.normal_(0, 0.1, generator=generator)
        elif tensor.dim() == 1 and tensor.is_floating_point():  # scales of normalisations
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            fan = tensor[0].numel() if 'decoder' not in name else tensor.shape[0] * 8
            tensor.normal_(0, fan**-0.5, generator=generator)
    return model


class Weights:
    """Tensors by name below a prefix."""

    def __init__(self, tensors, prefix=''):
        self.tensors, self.prefix = tensors, prefix

    def __getitem__(self, name):
        return self.tensors[f'{self.prefix}{name}']

    def get(self, name):
        return self.tensors.get(f'{self.prefix}{name}')

    def below(self, name):
        return Weights(self.tensors, f'{self.prefix}{name}.')


def norm(w, x):
    mean, var = w['running_mean'], w['running_var']
    return F.batch_norm(x, mean, var, w['weight'], w['bias'], training=False)


def conv2(w, x, padding=0, stride=1):
    return F.conv2d(x, w['weight'], w.get('bias'), stride, padding)


def conv3(w, x, padding=1):
    return F.conv3d(x, w['weight'], w.get('bias'), 1, padding)


def up(w, x, k=4):
    stride, padding = (2, 1) if k == 4 else (1, 0)
    return F.conv_transpose3d(x, w['weight'], None, stride, padding)


def vgg(w, x):
    # Convolutions of VGG16 by their index up to conv4_1; the layers between are pooling.
    for index in (0, 3, 7, 10, 14, 17, 20, 24):
        if index in (7, 14, 24):
            x = F.max_pool2d(x, 2)
        x = F.relu(norm(w.below(str(index + 1)), conv2(w.below(str(index)), x, 1)))
    return x


def pix2vox_encoder(w, x, accurate):
    x = vgg(w.below('vgg'), x)
    for number in (1, 2, 3):
        layer = w.below(f'layer{number}')
        x = F.elu(norm(layer.below('1'), conv2(layer.below('0'), x)))
        if number == 2:
            x = F.max_pool2d(x, 3 if accurate else 4)
    return x


def basic_block(w, x, stride):
    y = F.relu(norm(w.below('bn1'), conv2(w.below('conv1'), x, 1, stride)))
    y = norm(w.below('bn2'), conv2(w.below('conv2'), y, 1))
    return F.relu(y + shortcut(w, x, stride))


def bottleneck(w, x, stride):
    y = F.relu(norm(w.below('bn1'), conv2(w.below('conv1'), x)))
    y = F.relu(norm(w.below('bn2'), conv2(w.below('conv2'), y, 1, stride)))
    y = norm(w.below('bn3'), conv2(w.below('conv3'), y))
    return F.relu(y + shortcut(w, x, stride))


def shortcut(w, x, stride):
    if w.get('downsample.0.weight') is None:
        return x
    return norm(w.below('downsample.1'), conv2(w.below('downsample.0'), x, 0, stride))


def pix2voxpp_encoder(w, x, accurate):
    r = w.below('resnet')
    x = F.relu(norm(r.below('1'), conv2(r.below('0'), x, 3, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    block, counts = (bottleneck, (3, 4)) if accurate else (basic_block, (2, 2))
    for stage, count in enumerate(counts):
        for index in range(count):
            x = block(r.below(f'{4 + stage}.{index}'), x, 2 if stage and not index else 1)
    for number in (1, 2, 3):
        layer = w.below(f'layer{number}')
        x = F.relu(norm(layer.below('1'), conv2(layer.below('0'), x, 1)))
        if number > 1:
            x = F.max_pool2d(x, 2)
    return x


def decoder(w, features, latent):
    x = features.contiguous().view(-1, latent, 2, 2, 2)
    for number in (1, 2, 3, 4):
        layer = w.below(f'layer{number}')
        x = F.relu(norm(layer.below('1'), up(layer.below('0'), x)))
    volume = torch.sigmoid(up(w.below('layer5.0'), x, k=1))
    return torch.cat([x, volume], 1), volume[:, 0]


def score_layer(w, x):
    return F.leaky_relu(norm(w.below('1'), conv3(w.below('0'), x)), 0.2)


def merger_scores(w, context):
    for number in (1, 2, 3, 4, 5):
        context = score_layer(w.below(f'layer{number}'), context)
    return context[:, 0]


def multi_scale_scores(w, context):
    scales = []
    for number in (1, 2, 3, 4):
        context = score_layer(w.below(f'layer{number}'), context)
        scales.append(context)
    return score_layer(w.below('layer6'), score_layer(w.below('layer5'), torch.cat(scales, 1)))[
        :, 0
    ]


def refiner(w, volume):
    levels = [volume[:, None]]
    for number in (1, 2, 3):
        layer = w.below(f'layer{number}')
        x = F.leaky_relu(norm(layer.below('1'), conv3(layer.below('0'), levels[-1], 2)), 0.2)
        levels.append(F.max_pool3d(x, 2))
    flat = levels[3].reshape(-1, 8192)
    flat = F.relu(F.linear(flat, w['layer4.0.weight'], w['layer4.0.bias']))
    flat = F.relu(F.linear(flat, w['layer5.0.weight'], w['layer5.0.bias']))
    x = levels[3] + flat.view(-1, 128, 4, 4, 4)
    for number, level in ((6, levels[2]), (7, levels[1])):
        layer = w.below(f'layer{number}')
        x = level + F.relu(norm(layer.below('1'), up(layer.below('0'), x)))
    x = torch.sigmoid(up(w.below('layer8.0'), x))
    return ((levels[0] + x) / 2)[:, 0]


@torch.no_grad()
def pix2vox(name, tensors, views):
    """Return (B, 32, 32, 32) in the published order of views (B, V, 3, 224, 224)."""
    w = Weights(tensors)
    accurate = name.endswith('_a')
    plus = 'pp' in name
    encode = pix2voxpp_encoder if plus else pix2vox_encoder
    score = multi_scale_scores if plus else merger_scores
    latent = w['decoder.layer1.0.weight'].shape[0]
    volumes, scores = [], []
    for view in views.unbind(1):
        context, volume = decoder(
            w.below('decoder'), encode(w.below('encoder'), view, accurate), latent
        )
        volumes.append(volume)
        scores.append(score(w.below('merger'), context))
    weights = torch.softmax(torch.stack(scores, 1), 1)
    merged = torch.zeros_like(volumes[0])
    for index, volume in enumerate(volumes):
        merged = merged + weights[:, index] * volume
    merged = merged.clamp(0, 1)
    return refiner(w.below('refiner'), merged) if accurate else merged


def to_ours(volume):
    """Return a volume [x, y up, z] in our order, [x, y, z up], index by index."""
    result = torch.empty_like(volume)
    n = volume.shape[-1]
    for y in range(n):
        result[..., y, :] = volume[..., n - 1 - y]  # our y is their -z, our z their y
    return result


def leaky(x):
    return F.leaky_relu(x, 0.01)


def pool(x):
    return F.max_pool2d(x, 2, padding=1)


def unpool(x):
    zeros = torch.zeros(*x.shape[:2], *(2 * n for n in x.shape[2:]))
    zeros[:, :, ::2, ::2, ::2] = x
    return zeros


def r2n2_encoder(w, x, shallow):
    for stage in range(6):
        big = 3 if stage == 0 else 1
        if shallow:
            x = leaky(pool(conv2(w.below(f'convolutions.{stage}'), x, big)))
            continue
        s = w.below(f'stages.{stage}')
        y = leaky(conv2(s.below('b'), leaky(conv2(s.below('a'), x, big)), 1))
        if stage in (1, 2, 4):
            y = y + conv2(s.below('c'), x)
        elif stage == 5:
            y = y + x
        x = pool(y)
    x = x.contiguous().view(len(x), 2304)
    return leaky(F.linear(x, w['linear.weight'], w['linear.bias']))


def gate(w, feature, h):
    per_cell = F.linear(feature, w['view.weight']).view(-1, 128, 4, 4, 4)
    return conv3(w.below('state'), h) + per_cell


def r2n2_decoder(w, h, shallow):
    if shallow:
        for index in range(5):
            h = conv3(w.below(f'convolutions.{index}'), unpool(h) if index < 3 else h)
            h = leaky(h) if index < 4 else h
        return h
    for index in range(3):
        s, x = w.below(f'stages.{index}'), unpool(h)
        y = leaky(conv3(s.below('b'), leaky(conv3(s.below('a'), x))))
        h = y + (conv3(s.below('c'), x, 0) if index == 2 else x)
    x = leaky(conv3(w.below('a'), h))
    return conv3(w.below('last'), leaky(conv3(w.below('b'), x)) + conv3(w.below('c'), x))


@torch.no_grad()
def r2n2(name, tensors, views, shallow=False):
    """Return (B, 32, 32, 32) in the published order of views (B, V, 3, 127, 127)."""
    w = Weights(tensors)
    unit = w.below('recurrence')
    h = torch.zeros(len(views), 128, 4, 4, 4)
    s = torch.zeros_like(h)
    for view in views.unbind(1):
        x = r2n2_encoder(w.below('encoder'), view, shallow)
        if name == 'r2n2_gru':
            u = torch.sigmoid(gate(unit.below('update'), x, h))
            r = torch.sigmoid(gate(unit.below('reset'), x, h))
            h = u * h + (1 - u) * torch.tanh(gate(unit.below('candidate'), x, r * h))
        else:
            f = torch.sigmoid(gate(unit.below('forget'), x, h))
            i = torch.sigmoid(gate(unit.below('input'), x, h))
            s = f * s + i * torch.tanh(gate(unit.below('candidate'), x, h))
            h = torch.tanh(s)
    return torch.softmax(r2n2_decoder(w.below('decoder'), h, shallow), 1)[:, 1]
