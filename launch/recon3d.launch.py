"""Start recon3d, and with it, where wanted, RViz and a bag.

`ros2 launch recon3d_ros recon3d.launch.py -s` shows the arguments.
"""

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription

SHARE = get_package_share_directory('recon3d_ros')
# With its own buffers Fast DDS loses large images between processes; with LARGE_DATA, processes
# that start together may never find each other.
TRANSPORT = 'DEFAULT?sockets_size=16MB'

# Topics of the drivers, with depth in the pixels of the colour image.
CAMERAS = {
    'generic': {},
    'realsense': {
        'image': '/camera/camera/color/image_raw',
        'depth': '/camera/camera/aligned_depth_to_color/image_raw',
        'camera_info': '/camera/camera/color/camera_info',
    },
    'zed': {
        'image': '/zed/zed_node/rgb/image_rect_color',
        'depth': '/zed/zed_node/depth/depth_registered',
        'camera_info': '/zed/zed_node/rgb/camera_info',
    },
    'oakd': {
        'image': '/oak/rgb/image_raw',
        'depth': '/oak/stereo/image_raw',
        'camera_info': '/oak/rgb/camera_info',
    },
}

ARGUMENTS = [
    DeclareLaunchArgument(
        'params_file',
        default_value=f'{SHARE}/config/tabletop_rgbd.yaml',
        description='Parameter file: tabletop_rgbd, mobile_rgbd, tabletop_rgb or rgb_hull here.',
    ),
    DeclareLaunchArgument(
        'camera',
        default_value='generic',
        choices=list(CAMERAS),
        description='Family of the camera, whose topics are used; generic reads camera/image, '
        'camera/depth and camera/camera_info.',
    ),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of the node and its inputs.'
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severity that is logged.',
    ),
    DeclareLaunchArgument(
        'rviz',
        default_value='false',
        choices=['true', 'false'],
        description='Whether RViz is started with every output.',
    ),
    DeclareLaunchArgument(
        'viewer',
        default_value='false',
        choices=['true', 'false'],
        description='Whether the scene is shown in a web page, at port 8080 of this machine; '
        'sink.viewer.host and sink.viewer.port are parameters.',
    ),
    DeclareLaunchArgument(
        'bag',
        default_value='',
        description='Bag to play with its own clock; sets use_sim_time.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        description='Whether time comes from /clock; empty: true where a bag is played.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='true',
        choices=['true', 'false'],
        description='Whether the node configures and activates itself; otherwise a manager does.',
    ),
    DeclareLaunchArgument(
        'device',
        default_value='',
        description='Where to compute: auto, cpu or cuda; empty leaves it to the parameter file.',
    ),
]


def remappings(topics: dict[str, str]) -> list[tuple[str, str]]:
    """Return the remappings of a camera's topics, each with its compressed transports."""
    suffixes = ('', '/compressed', '/compressedDepth')
    return [(f'camera/{own}{s}', f'{other}{s}') for own, other in topics.items() for s in suffixes]


def logger_name(namespace: str) -> str:
    """Return the name of the node's logger, which begins with the node's namespace."""
    return '.'.join([*filter(None, namespace.split('/')), 'recon3d'])


def start(context: LaunchContext) -> list[Action]:
    """Return the actions, now that the arguments have values."""
    given = {item.name: LaunchConfiguration(item.name).perform(context) for item in ARGUMENTS}
    sim_time = (given['use_sim_time'] or str(bool(given['bag']))).lower() == 'true'
    parameters = {'autostart': given['autostart'] == 'true', 'use_sim_time': sim_time}
    if given['viewer'] == 'true':
        parameters['viewer'] = True
    if given['device']:
        parameters['device'] = given['device']
    actions: list[Action] = [
        Node(
            package='recon3d_ros',
            executable='recon3d_node',
            name='recon3d',
            namespace=given['namespace'],
            output='screen',
            emulate_tty=True,
            parameters=[given['params_file'], parameters],
            remappings=remappings(CAMERAS[given['camera']]),
            ros_arguments=[
                '--log-level',
                f'{logger_name(given["namespace"])}:={given["log_level"]}',
            ],
        )
    ]
    if given['bag']:
        actions.append(ExecuteProcess(cmd=['ros2', 'bag', 'play', '--clock', '100', given['bag']]))
    if given['rviz'] == 'true':
        actions.append(
            Node(
                package='rviz2',
                executable='rviz2',
                namespace=given['namespace'],
                arguments=['-d', f'{SHARE}/rviz/recon3d.rviz'],
                parameters=[{'use_sim_time': sim_time}],
            )
        )
    return actions


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    transport = 'FASTDDS_BUILTIN_TRANSPORTS'
    return LaunchDescription(
        [
            SetEnvironmentVariable(
                transport, EnvironmentVariable(transport, default_value=TRANSPORT)
            ),
            *ARGUMENTS,
            OpaqueFunction(function=start),
        ]
    )
