"""Which topics of a recording belong to which camera."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses

from recon3d_core import registry
from recon3d_core.data.bags.reader import BagReader, decode
from recon3d_core.data.encodings import DEPTH_ENCODINGS, ENCODINGS
from recon3d_core.errors import FrameError, SourceError

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
TF = 'tf2_msgs/msg/TFMessage'
ODOMETRY = 'nav_msgs/msg/Odometry'
POSE = 'geometry_msgs/msg/PoseStamped'
_TRANSPORTS = ('compressedDepth', 'compressed')
# Parts of a camera's namespace: what drivers put between its name and `image_raw`.
_STREAMS = frozenset(
    {
        'color',
        'rgb',
        'depth',
        'stereo',
        'ir',
        'infra',
        'infra1',
        'infra2',
        'image',
        'aligned_depth_to_color',
        'aligned_depth_to_rgb',
        'depth_registered',
        'depth_to_rgb',
        'rgb_to_depth',
        'hw_registered',
        'sw_registered',
        'raw',
        'rect',
    }
)
_NOT_COLOR = ('mask', 'label', 'segment', 'disparity', 'confidence', 'normal', 'debug', 'annotat')


@dataclasses.dataclass(frozen=True)
class CameraTopics:
    """The topics of one camera; an empty string where it has none.

    Attributes:
        name: Name of the camera.
        color: Colour images.
        depth: Depth images.
        color_info: camera_info of the colour.
        depth_info: camera_info of the depth.
    """

    name: str
    color: str = ''
    depth: str = ''
    color_info: str = ''
    depth_info: str = ''


def base_topic(topic: str) -> str:
    """Return an image topic without its transport: `/a/image/compressed` gives `/a/image`."""
    base, _, last = topic.rpartition('/')
    return base if last in _TRANSPORTS else topic


def is_rectified(topic: str) -> bool:
    """Return whether an image topic is rectified by its name, so that P describes it."""
    return 'rect' in base_topic(topic).rpartition('/')[2].split('_')


def namespace(topic: str) -> str:
    """Return the camera that a topic belongs to: `/cam/color/image_raw` gives `/cam`."""
    parts = base_topic(topic).split('/')[:-1]
    while parts and parts[-1] in _STREAMS:
        parts.pop()
    return '/'.join(parts)


def find_topic(bag: BagReader, name: str, option: str, types: tuple[str, ...]) -> str:
    """Return the topic of an option; its transports are tried too.

    Raises:
        SourceError: The recording has no such topic of these types; it lists what it has.
    """
    full = name if name.startswith('/') else f'/{name}'
    for candidate in (name, full, *(f'{full}/{transport}' for transport in _TRANSPORTS)):
        if bag.topics.get(candidate) in types:
            return candidate
    known = [topic for topic, kind in bag.topics.items() if kind in types]
    short = ' or '.join(kind.rpartition('/')[2] for kind in types)
    raise SourceError(
        f'{bag.path.name} has no {short} topic {name!r} ({option})',
        f'topics {bag.describe_topics()}',
        None,
        registry.closest(full, known),
    )


def find_cameras(
    bag: BagReader, color: str = '', depth: str = '', info: str = '', only: tuple[str, ...] = ()
) -> list[CameraTopics]:
    """Return the cameras of a recording in the order of their names.

    Args:
        bag: The recording.
        color: Colour topic; empty finds it, `none` does without. With a topic given there is
            one camera, of this and the given depth topic.
        depth: Depth topic, likewise.
        info: camera_info topic; empty finds it.
        only: Names of the cameras to take; empty takes all.

    Raises:
        SourceError: A topic is unknown, or there is no camera.
    """
    given = {'color': color, 'depth': depth}
    images = (IMAGE, COMPRESSED)
    chosen = {
        kind: find_topic(bag, topic, f'{kind}_topic', images)
        for kind, topic in given.items()
        if topic not in ('', 'none')
    }
    groups = _group(bag)
    if chosen:
        place = namespace(next(iter(chosen.values())))
        found = {} if len(chosen) == 2 else dict(groups.get(place, {}))
        groups = {place: {**found, **chosen}}
    for group in groups.values():
        for kind in [kind for kind, topic in given.items() if topic == 'none']:
            group.pop(kind, None)
    groups = {place: group for place, group in groups.items() if group}
    if not groups:
        raise SourceError(
            f'{bag.path.name} has no images',
            f'topics {bag.describe_topics()}',
            'Image or CompressedImage topics',
        )
    info = find_topic(bag, info, 'info_topic', (CAMERA_INFO,)) if info else ''
    names = _names(list(groups))
    cameras = [_camera(bag, names[place], group, info) for place, group in sorted(groups.items())]
    return _selected(cameras, only)


def _selected(cameras: list[CameraTopics], only: tuple[str, ...]) -> list[CameraTopics]:
    known = [camera.name for camera in cameras]
    for name in only:
        if name not in known:
            raise SourceError(
                'unknown camera', repr(name), f'one of {known}', registry.closest(name, known)
            )
    return [camera for camera in cameras if not only or camera.name in only]


def _group(bag: BagReader) -> dict[str, dict[str, str]]:
    """Return `{namespace: {color, depth: best topic}}`."""
    best: dict[str, dict[str, tuple[int, str]]] = {}
    for topic, type_name in sorted(bag.topics.items()):
        kind = _kind(bag, topic, type_name)
        if kind:
            group = best.setdefault(namespace(topic), {})
            rank = _rank(topic, kind)
            if kind not in group or rank > group[kind][0]:
                group[kind] = rank, topic
    groups = {
        place: {kind: topic for kind, (_, topic) in group.items()} for place, group in best.items()
    }
    _join_stereo(groups)
    if len(groups) == 2:  # colour and depth under unlike names are still one camera
        first, second = groups.values()
        if len(first) == len(second) == 1 and set(first) != set(second):
            groups = {next(p for p, g in groups.items() if 'color' in g): {**first, **second}}
    return groups


def _join_stereo(groups: dict[str, dict[str, str]]) -> None:
    """Take `/cam/left` and `/cam/right` without depth for parts of a `/cam` that has depth."""
    for place in sorted(groups):
        parent, _, last = place.rpartition('/')
        if (
            last in ('left', 'right')
            and 'depth' not in groups[place]
            and ('depth' in groups.get(parent, {}))
        ):
            groups[parent].setdefault('color', groups.pop(place)['color'])


def _kind(bag: BagReader, topic: str, type_name: str) -> str:
    """Return `color` or `depth`, or an empty string for what is neither."""
    if type_name not in (IMAGE, COMPRESSED) or not bag.counts[topic]:
        return ''
    lowered = topic.lower()
    if topic.endswith('compressedDepth'):
        return 'depth'
    if any(word in lowered for word in _NOT_COLOR):
        return ''
    message = bag.first(topic)
    try:
        content = None if message is None else decode(message)
    except FrameError:
        content = None
    if content is None or type_name == COMPRESSED:
        named = getattr(content, 'format', '')
        return 'depth' if 'depth' in lowered or '16UC1' in named or '32FC1' in named else 'color'
    encoding = content.encoding
    if encoding in DEPTH_ENCODINGS and (encoding != 'mono16' or 'depth' in lowered):
        return 'depth'
    return 'color' if encoding in ENCODINGS else ''


def _rank(topic: str, kind: str) -> int:
    """Return how well a topic suits: registered depth, colour before gray, raw, rectified."""
    lowered = topic.lower()
    if kind == 'depth':
        return 4 * ('aligned' in lowered or 'registered' in lowered) + (base_topic(topic) == topic)
    score = 8 * ('color' in lowered or 'rgb' in lowered)
    score -= 4 * ('infra' in lowered or '/ir' in lowered or 'right' in lowered)
    return score + 2 * (base_topic(topic) == topic) + is_rectified(topic)


def _names(places: list[str]) -> dict[str, str]:
    """Return `{namespace: name of the camera}`: its last part, all parts where not unique."""
    short = {place: place.rpartition('/')[2] or 'camera' for place in places}
    if len(set(short.values())) == len(places):
        return short
    return {place: place.strip('/').replace('/', '_') or 'camera' for place in places}


def _camera(bag: BagReader, name: str, group: Mapping[str, str], info: str) -> CameraTopics:
    infos = {kind: info or _info(bag, topic) for kind, topic in group.items()}
    return CameraTopics(
        name,
        group.get('color', ''),
        group.get('depth', ''),
        infos.get('color', ''),
        infos.get('depth', ''),
    )


def _info(bag: BagReader, topic: str) -> str:
    """Return the camera_info beside an image topic, or the only one of its camera.

    Raises:
        SourceError: There is none.
    """
    known = [t for t, kind in bag.topics.items() if kind == CAMERA_INFO and bag.counts[t]]
    base = base_topic(topic)
    for beside in (f'{base.rpartition("/")[0]}/camera_info', f'{base}/camera_info'):
        if beside in known:
            return beside
    near = [t for t in known if namespace(t) == namespace(topic)] or known
    if not near or (len(near) > 1 and 'depth' in base and 'registered' not in base):
        raise SourceError(
            f'no camera_info for {topic}',
            f'topics {bag.describe_topics()}',
            'a CameraInfo topic beside it',
            'Give it as info_topic.',
        )
    return sorted(near, key=lambda t: 'depth' in t)[0]
