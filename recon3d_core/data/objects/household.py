"""Which objects of the mesh collection are household objects, what they are and how large.

Rules are tried in order on the words of a name; the first that fits decides. Sizes (longest
extent, metres) are used where the file's own size is arbitrary.
"""

from __future__ import annotations

import dataclasses
import re

DROPPED = (
    r'elevator|nursesstation|ramp|column|pillar|.*logo|retail_desk|info_desk|.*_handle_\d|paneling',
    r'assembly|conveyor|forklift|kanban|robot_arm|man_|power_outlet|station|shelf_super|road|wall',
    r'pallet|primitive|cube_prototype|coin|target|watertower|car_|shower|.*corner_(inner|round)',
    r'kitchencounter_(inner|outer)corner|kitchencabinet_corner|kitchen_cabinet_upper|rug|quilt',
    r'airconditioner|rangehood|extractorhood|chandelier|security_camera|fitness|chain|marbles',
    r'cooking_bench|bush|kitchen_bar_end|towelrail|shelf_a|menu|.*_pieces|trash_[ab]|food.*_trash',
)
"""Parts of rooms, machines, stacks, people, scattered heaps and things of the street."""

DROPPED_SETS = ('quaternius_cars',)
SIZE_RANGE_M = (0.015, 2.6)
"""Longest extent of what is kept, where the size is real."""

_CATEGORIES = (
    (r'chair|armchair|office', 'chair', 0.9),
    (r'stool', 'stool', 0.5),
    (r'bench', 'bench', 1.2),
    (r'sofa|couch|lounge|ottoman', 'sofa', 1.8),
    (r'cabinet|closet|wardrobe|dresser|night_?stand|drawer|side_table|kitchencabinet'
     r'|short_closet', 'cabinet', 1.0),
    (r'bed(?!side)', 'bed', 2.0),
    (r'tablet', 'tablet', 0.2),
    (r'tableware', 'tableware', 0.3),
    (r'lamp', 'lamp', 0.5),
    (r'picture|pictureframe|(desk_)?portrait|horologe', 'picture', 0.4),
    (r'table|kitchentable|desk', 'table', 1.2),
    (r'bookcase|book_case|shelf|rack|dishrack|shoe_rack|coat_rack|bookshelf', 'shelf', 1.2),
    (r'book', 'book', 0.25),
    (r'plant|potted_plant|cactus', 'plant', 0.3),
    (r'pillow|blanket', 'pillow', 0.45),
    (r'fridge|refrigerator|washer|dryer|oven|stove|microwave|blender|coffee_machine|sink'
     r'|kitchen_bar|kitchencounter|kitchen_fridge|toilet|bathtub', 'appliance', 0.8),
    (r'television|tv|screen|computer|laptop|radio|speaker|smart_speaker', 'electronics', 0.4),
    (r'bottle|ketchup|mustard|tomato_sauce|beer|milkshake|windex|bleach|medicine', 'bottle', 0.2),
    (r'pan_|pot_|skillet_(?!lid)', 'pot', 0.35),
    (r'bowl|stew|food_stew', 'bowl', 0.18),
    (r'cups?_|cups?$|mug', 'cup', 0.09),
    (r'plate|dish|lid|crate_lid|tray|cuttingboard', 'plate', 0.25),
    (r'vase|jar', 'vase', 0.2),
    (r'trash|trashcan|dumpster', 'bin', 0.4),
    (r'can_|can$|soup_can|barrel|soda|pringles', 'can', 0.12),
    (r'crate|box|cardboard_box|milk|basmati|corn_flakes|green_tea|tea_box|salt|kitekat|zwieback'
     r'|spaghetti|tomato_soup|orange_juice|apple_juice|seasoning_box', 'box', 0.25),
    (r'food|burger|cake|cookie|cupcake|donut|hotdog|icecream|pizza|apple|lemon|peach|pear|orange'
     r'|plum|strawberry', 'food', 0.12),
    (r'fork|spoon|knife|scissors|adjustable_wrench|wrench|screwdriver|hammer|clamp|large_marker'
     r'|padlock|.*utensils', 'tool', 0.2),
    (r'ball|soccer_ball|softball|baseball|racquetball|dice|.*cube|lego|.*block|toy|bear|.*_peg',
     'toy', 0.1),
)  # fmt: skip
_OTHER = ('object', 0.25)

_DROP = re.compile(rf'(?<![a-z])({"|".join(DROPPED)})')
_KNOWN = [
    (re.compile(rf'(?<![a-z])({pattern})'), name, size) for pattern, name, size in _CATEGORIES
]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an object is, and how large things of its kind usually are (longest extent)."""

    category: str
    size_m: float


def _words(name: str) -> str:
    """Return `CoffeeTable 2` as `coffee_table_2`."""
    apart = re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name.removeprefix('aws_robomaker_'))
    return apart.replace(' ', '_').lower()


def kind_of(name: str, collection: str) -> Kind:
    """Return what an object of a collection is, by its name."""
    if collection == 'random_shapes':
        return Kind('random', 0.2)
    words = _words(name)
    for pattern, category, size_m in _KNOWN:
        if pattern.search(words):
            return Kind(category, size_m)
    return Kind(*_OTHER)


def is_household(name: str, collection: str, longest_m: float | None) -> bool:
    """Return whether an object could stand in a home.

    Args:
        name: Its name.
        collection: The set it is from.
        longest_m: Its longest extent in metres; None where its size is arbitrary.
    """
    if collection in DROPPED_SETS or _DROP.search(_words(name)):
        return False
    return longest_m is None or SIZE_RANGE_M[0] <= longest_m <= SIZE_RANGE_M[1]
