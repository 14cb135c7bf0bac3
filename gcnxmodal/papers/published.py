"""Numbers that the papers print: Yu et al. 2018 (GIN), Table 1; Lu et al. 2018 (SCANet), Tables 2 to 4; Xu et
al. 2019 (GCH), Tables 1 to 3; Wu et al. 2018 (SSPE), Table 1.
"""

from typing import Literal

Triple = tuple[float, float, float]
"""MAP of text queries, of image queries, and the average that is printed beside them."""

Published = tuple[float, float, float | None]
"""A `Triple`, or two directions of a paper that prints no average."""

# GIN Table 1, by data set; its GIN rows are in `gin.py`.
GIN_1: dict[str, dict[str, Triple]] = {
    "Eng-Wiki": {
        "CCA": (0.1872, 0.2160, 0.2016),
        "SCM": (0.2336, 0.2759, 0.2548),
        "TCM": (0.2930, 0.2320, 0.2660),
        "LCFS": (0.2043, 0.2711, 0.2377),
        "MvDA": (0.2319, 0.2971, 0.2645),
        "LGCFL": (0.3160, 0.3775, 0.3467),
        "ml-CCA": (0.2873, 0.3527, 0.3120),
        "GMLDA": (0.2885, 0.3159, 0.3022),
        "GMMFA": (0.2964, 0.3155, 0.3060),
        "AUSL": (0.3321, 0.3965, 0.3643),
        "JFSSL": (0.4102, 0.4670, 0.4386),
    },
    "NUS-WIDE": {
        "CCA": (0.2667, 0.2869, 0.2768),
        "LCFS": (0.3363, 0.4742, 0.4053),
        "LGCFL": (0.3907, 0.4972, 0.4440),
        "ml-CCA": (0.3908, 0.4689, 0.4299),
        "AUSL": (0.4128, 0.5690, 0.4909),
        "JFSSL": (0.3747, 0.4035, 0.3891),
    },
    "Pascal": {
        "PLS": (0.1997, 0.2757, 0.2377),
        "BLM": (0.2408, 0.2667, 0.2538),
        "CCA": (0.2215, 0.2655, 0.2435),
        "CDFE": (0.2211, 0.2928, 0.2569),
        "GMLDA": (0.2448, 0.3094, 0.2771),
        "GMMFA": (0.2308, 0.3090, 0.2699),
        "CCA-3V": (0.2562, 0.3146, 0.2854),
        "LCFS": (0.2674, 0.3438, 0.3056),
        "JFSSL": (0.2801, 0.3607, 0.3204),
    },
    "TVGraz": {
        "TTI": (0.1530, 0.2160, 0.1845),
        "CM": (0.4500, 0.4600, 0.4550),
        "SM": (0.5850, 0.6190, 0.6020),
        "SCM": (0.6960, 0.6930, 0.6945),
        "TCM": (0.7060, 0.6940, 0.6950),
    },
    "Ch-Wiki": {"w-TCM": (0.2980, 0.2410, 0.2695), "c-TCM": (0.3170, 0.3100, 0.3135)},
}

# Averages in GIN Table 1 that are not the mean of their row: what they should be.
GIN_1_SLIPS = {("TCM", "Eng-Wiki"): 0.2625, ("ml-CCA", "Eng-Wiki"): 0.3200, ("TCM", "TVGraz"): 0.7000}

SCANET_COLUMNS = ("wikipedia", "nus-wide", "pascal")
"""Data sets of the columns of SCANet's Table 2, as the presets call them."""

# SCANet Table 2: Eng-Wiki, NUS-WIDE, Pascal VOC.
SCANET_2: dict[str, tuple[Triple | None, Triple | None, Triple | None]] = {
    "SCM": ((0.23, 0.28, 0.26), None, None),
    "TCM": ((0.29, 0.23, 0.26), None, None),
    "CCA": ((0.19, 0.22, 0.20), (0.27, 0.29, 0.28), (0.22, 0.27, 0.24)),
    "LCFS": ((0.20, 0.27, 0.24), (0.34, 0.47, 0.41), (0.27, 0.34, 0.31)),
    "MvDA": ((0.23, 0.30, 0.26), None, None),
    "LGCFL": ((0.32, 0.38, 0.35), (0.39, 0.50, 0.44), None),
    "ml-CCA": ((0.29, 0.35, 0.32), (0.39, 0.47, 0.43), None),
    "GMLDA": ((0.29, 0.32, 0.30), (0.24, 0.31, 0.28), None),
    "GMMFA": ((0.30, 0.32, 0.31), (0.23, 0.31, 0.27), None),
    "AUSL": ((0.33, 0.40, 0.37), (0.41, 0.57, 0.49), None),
    "JFSSL": ((0.41, 0.47, 0.44), (0.38, 0.40, 0.39), (0.28, 0.36, 0.32)),
    "SCANet": ((0.81, 0.46, 0.63), (0.58, 0.52, 0.55), (0.48, 0.34, 0.41)),
}

# SCANet Table 3: text features, image features; 0, 1, 2 and 3 layers of co-attention.
SCANET_3: dict[tuple[str, str], tuple[Triple, Triple, Triple, Triple]] = {
    ("LSTM", "VGG-19"): ((0.62, 0.42, 0.52), (0.64, 0.44, 0.54), (0.63, 0.43, 0.53), (0.60, 0.42, 0.51)),
    ("CNN", "VGG-19"): ((0.36, 0.30, 0.33), (0.37, 0.31, 0.34), (0.41, 0.33, 0.37), (0.35, 0.29, 0.32)),
    ("GCN", "VGG-19"): ((0.75, 0.43, 0.59), (0.76, 0.45, 0.61), (0.81, 0.46, 0.63), (0.72, 0.46, 0.59)),
    ("GCN", "ResNet-50"): ((0.66, 0.39, 0.53), (0.69, 0.41, 0.56), (0.71, 0.43, 0.57), (0.70, 0.40, 0.55)),
    ("GCN", "CNN-5"): ((0.28, 0.27, 0.28), (0.31, 0.28, 0.30), (0.33, 0.28, 0.31), (0.30, 0.26, 0.28)),
}

# SCANet Table 4: m, lambda.
SCANET_4: dict[tuple[float, float], Triple] = {
    (0.5, 0.35): (0.622, 0.463, 0.543),
    (0.6, 0.35): (0.808, 0.460, 0.634),
    (0.7, 0.35): (0.643, 0.473, 0.558),
    (0.6, 0.30): (0.795, 0.450, 0.623),
    (0.6, 0.40): (0.791, 0.452, 0.621),
}

GCH_DATA = ("mirflickr", "nus-wide", "coco")
"""Data sets of GCH's Tables 1 and 2, as the presets call them."""
GCH_BITS = (16, 32, 64)

Direction = Literal["image_query", "text_query"]

# GCH Table 1: each data set of GCH_DATA at 16, 32 and 64 bits.
GCH_1: dict[str, dict[Direction, tuple[float, ...]]] = {
    "SCM": {
        "image_query": (0.556, 0.559, 0.557, 0.436, 0.432, 0.429, 0.385, 0.387, 0.384),
        "text_query": (0.556, 0.559, 0.557, 0.436, 0.432, 0.429, 0.385, 0.387, 0.384),
    },
    "CMSSH": {
        "image_query": (0.568, 0.595, 0.529, 0.437, 0.445, 0.423, 0.538, 0.479, 0.450),
        "text_query": (0.568, 0.595, 0.529, 0.437, 0.445, 0.423, 0.538, 0.479, 0.450),
    },
    "STMH": {
        "image_query": (0.588, 0.618, 0.650, 0.482, 0.500, 0.500, 0.469, 0.556, 0.565),
        "text_query": (0.613, 0.623, 0.654, 0.435, 0.472, 0.460, 0.524, 0.554, 0.578),
    },
    "SePH": {
        "image_query": (0.752, 0.772, 0.784, 0.653, 0.659, 0.688, 0.561, 0.601, 0.648),
        "text_query": (0.689, 0.697, 0.709, 0.578, 0.575, 0.568, 0.572, 0.620, 0.650),
    },
    "DCMH": {
        "image_query": (0.724, 0.731, 0.731, 0.568, 0.561, 0.596, 0.505, 0.536, 0.557),
        "text_query": (0.764, 0.749, 0.780, 0.558, 0.591, 0.616, 0.549, 0.572, 0.605),
    },
    "GCH": {
        "image_query": (0.833, 0.857, 0.869, 0.693, 0.719, 0.753, 0.648, 0.686, 0.708),
        "text_query": (0.892, 0.910, 0.907, 0.732, 0.766, 0.761, 0.745, 0.797, 0.830),
    },
}

# GCH Table 2: each data set of GCH_DATA at 16 bits.
GCH_2: dict[str, dict[Direction, tuple[float, ...]]] = {
    "GCH-A": {"image_query": (0.755, 0.525, 0.641), "text_query": (0.811, 0.510, 0.741)},
    "GCH": {"image_query": (0.833, 0.693, 0.648), "text_query": (0.892, 0.732, 0.754)},
}

# GCH Table 3: MIRFLICKR-25K.
GCH_3: dict[str, dict[Direction, tuple[float, ...]]] = {
    "CMHH": {"image_query": (0.783,), "text_query": (0.758,)},
    "GCH": {"image_query": (0.833,), "text_query": (0.891,)},
}

SSPE_DATA = ("pascal", "mirflickr", "nus-wide")
"""Data sets of SSPE's Table 1, as the presets call them."""

# SSPE Table 1, MAP: each data set of SSPE_DATA. Its standard deviations are .007 at the most.
SSPE_1: dict[str, dict[Direction, tuple[float, ...]]] = {
    "CCA": {"image_query": (0.659, 0.652, 0.409), "text_query": (0.645, 0.653, 0.377)},
    "PLS": {"image_query": (0.633, 0.662, 0.503), "text_query": (0.501, 0.661, 0.456)},
    "GMLDA": {"image_query": (0.673, 0.650, 0.507), "text_query": (0.664, 0.651, 0.459)},
    "MMNN": {"image_query": (0.697, 0.712, 0.577), "text_query": (0.647, 0.731, 0.473)},
    "ml-CCA": {"image_query": (0.698, 0.708, 0.516), "text_query": (0.697, 0.713, 0.435)},
    "LGCFL": {"image_query": (0.732, 0.723, 0.516), "text_query": (0.723, 0.725, 0.440)},
    "DSPE": {"image_query": (0.727, 0.728, 0.482), "text_query": (0.717, 0.739, 0.437)},
    "CMOS": {"image_query": (0.724, 0.727, 0.533), "text_query": (0.700, 0.728, 0.485)},
    "SSPE": {"image_query": (0.745, 0.749, 0.585), "text_query": (0.741, 0.766, 0.504)},
}


def two_directions(table: dict[str, dict[Direction, tuple[float, ...]]], method: str) -> list[Published]:
    """The columns of a method's rows.

    >>> two_directions(GCH_3, "CMHH")
    [(0.758, 0.783, None)]
    """
    rows = table[method]
    return [(text, image, None) for text, image in zip(rows["text_query"], rows["image_query"], strict=True)]
