"""The node with a colour camera, masks and poses: objects by a network, without depth."""

from __future__ import annotations

from geometry_msgs.msg import PoseArray
from node_graph import running
import numpy as np
import pytest
from quick_networks import weights_of
from recon3d_core.data import load_source
from recon3d_ros.conversions.transforms import matrix_from_pose
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.ros
SOURCE = 'synthetic:single_box?masks=true&depth=false&frames=7&width=320&height=240'


def test_objects_come_out_of_colour_and_masks_and_tell_how_settled_they_are():
    source = load_source(SOURCE)
    parameters = {
        'use_depth': False,
        'use_masks': True,
        'map_scene': False,
        'detector.plugin': 'frame_masks',
        'detector.rate_hz': 15.0,
        'tracker.plugin': 'cones',
        'reconstructor.plugin': 'posed_fusion',
        'reconstructor.weights': weights_of('posed_fusion'),
        'objects.min_views': 3,
        'mesh.rate_hz': 15.0,
        'budget_ms': 0.0,
    }
    with running(**parameters) as graph:
        poses = graph.listen(PoseArray, '/recon3d/objects/poses')
        markers = graph.listen(MarkerArray, '/recon3d/objects/markers')
        graph.feed(source)
        graph.wait(lambda: poses and poses[-1].poses, what='an object')
        center = matrix_from_pose(poses[-1].poses[0])[:3, 3]
        truth = next(iter(source.objects.values())).T_world_object[:3, 3]
        assert np.linalg.norm(center - truth) < 0.08

        def texts():
            return [m.text for array in markers for m in array.markers if m.ns == 'label']

        graph.wait(lambda: any('may change' in text for text in texts()), what='expected change')
        assert any('views' in text for text in texts())
