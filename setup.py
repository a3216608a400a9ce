from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'recon3d_ros'
SHARE = f'share/{PACKAGE}'


def files(folder: str, pattern: str) -> tuple[str, list[str]]:
    """Return one entry of `data_files`: what of a folder goes to the same folder in share/."""
    return f'{SHARE}/{folder}', sorted(str(path) for path in Path(folder).glob(pattern))


setup(
    name=PACKAGE,
    version='0.1.0',
    description='Closed meshes, poses and a surface map of what cameras see, in real time.',
    long_description='See README.md.',
    license='Apache-2.0',
    maintainer='The recon3d authors',
    maintainer_email='recon3d@example.com',
    keywords=['ROS', '3D reconstruction', 'RGB-D', 'robotics'],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['recon3d_core*', 'recon3d_ros*']),
    package_data={
        'recon3d_core': ['py.typed', 'weights/*', 'models/*/*.md', 'training/recipes/*.yaml']
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        files('launch', '*.py'),
        files('config', '*.yaml'),
        files('rviz', '*.rviz'),
    ],
    install_requires=[
        'numpy>=1.26',
        'scipy>=1.11',
        'scikit-image>=0.22',
        'open3d>=0.19',
        'opencv-python-headless>=4.9',
        'torch>=2.6',
        'trimesh>=4.4',
        'safetensors>=0.4',
        'rosbags>=0.11.9',
        'pydantic>=2.7',
        'PyYAML>=6.0',
        'typer>=0.12',
        'rich>=13.8',
        'psutil>=5.9',
    ],
    extras_require={
        'train': ['lightning-fabric>=2.4', 'matplotlib>=3.8', 'tensorboard>=2.16'],
        'viewer': ['viser>=0.2'],
        'onnx': ['onnxruntime>=1.18'],
        'transformers': ['transformers>=4.44'],
        'torchvision': ['torchvision>=0.19'],
    },
    entry_points={
        'console_scripts': [
            'recon3d = recon3d_core.cli.main:main',
            'recon3d_node = recon3d_ros.node:main',
        ],
    },
    zip_safe=False,
)
