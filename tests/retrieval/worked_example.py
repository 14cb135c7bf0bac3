"""Four queries over eight items, small enough to do by hand."""

import numpy as np

SCORES = np.float32(
    [
        [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],  # ranks the items 0, 1, ..., 7
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],  # 7, 6, ..., 0
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],  # all tied: 0, 1, ..., 7
        [0.3, 0.9, 0.3, 0.9, 0.3, 0.9, 0.3, 0.9],  # 1, 3, 5, 7, 0, 2, 4, 6; nothing is relevant
    ]
)
RELEVANT = np.array(
    [
        [1, 0, 1, 0, 0, 1, 0, 0],  # hits at ranks 1, 3, 6
        [1, 0, 0, 0, 0, 0, 0, 1],  # hits at ranks 1, 8
        [0, 1, 1, 0, 0, 0, 0, 0],  # hits at ranks 2, 3
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)
HITS = np.array(
    [
        [1, 0, 1, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)
