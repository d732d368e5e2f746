"""Whether a learning curve's intervals hold what more verified rows bring, on the digit scenes.

    python benchmarks/learning_curve.py --seeds 0 1 2

For each seed scenes are drawn, a few of them verified, the estimator is fitted, and the learning
curve is estimated from those alone. Then the truth: the estimator is fitted again with two and four
times as many, and each time the cleaned labels of rows that none of the fits has verified are
scored. Beside it stands what would be cheaper: the score of the auxiliary alone on the same rows,
which takes a second to fit.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray

from latentlabels import RobustClassifier
from latentlabels.data.digits import DIGIT_NAMES, digit_scenes
from latentlabels.data.labels import encode, read_columns
from latentlabels.evaluation.learning_curve import Estimate
from latentlabels.evaluation.metrics import mean_average_precision
from latentlabels.verifying import learning_curve

TIMES = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--verified", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    for seed in asked.seeds:
        measure(asked.rows, asked.verified, asked.epochs, seed)


def measure(rows: int, verified: int, epochs: int, seed: int) -> None:
    """Print what is expected, and what came, for one drawing of the scenes."""
    scenes = digit_scenes(rows, verified=1.0, seed=seed)
    training = np.flatnonzero(scenes.verified)
    x = scenes.images.reshape(rows, -1)[training]
    tags, labels = ([of[row] for row in training] for of in (scenes.tags, scenes.labels))
    order = np.random.default_rng(seed).permutation(len(training))
    never = order[TIMES[-1] * verified :]
    truth = np.array([[name in own for name in DIGIT_NAMES] for own in labels])[never]
    print(f"seed {seed}: {len(training):,} rows, scored on {len(never):,} that are never verified")

    def fitted(count: int) -> tuple[RobustClassifier, NDArray[np.bool_], float, float]:
        known = np.isin(np.arange(len(training)), order[:count])
        model = RobustClassifier(epochs=epochs, clean_labels=DIGIT_NAMES, random_state=seed)
        model.fit(x, tags, clean=labels, verified=known)
        said = model.clean(x, tags).probabilities[never]
        states = encode(read_columns(tags), model.noisy_space_)[never].toarray()
        alone = model.model_.auxiliary.clean_logits(torch.from_numpy(states)).numpy()
        scores = (mean_average_precision(truth, of) for of in (said, alone))
        return model, known, *scores

    start = time.perf_counter()
    model, known, *first = fitted(verified)
    once = time.perf_counter()
    curve = learning_curve(model, x, tags, labels, verified=known)
    taken = time.perf_counter() - once
    print(f"a fit took {once - start:.0f} s, the curve {taken:.0f} s: {curve.told()}")
    sizes = zip(curve.sizes, curve.scores, strict=True)
    print("measured: " + ", ".join(f"{size} {score:.1%}" for size, score in sizes))
    for times in TIMES:
        count = times * verified
        own, auxiliary = first if times == 1 else fitted(count)[2:]
        line = f"{count:5,} verified: {against(curve.expected(count), own)}"
        if times > 1:
            more = count - verified
            line += f"; gain {against(curve.gain(more), own - first[0])}"
            line += f"; the auxiliary alone gains {auxiliary - first[1]:+.1%}"
        print(line, flush=True)


def against(expected: Estimate, came: float) -> str:
    """What was expected beside what came."""
    holds = "holds" if expected.low <= came <= expected.high else "MISSES"
    bounds = f"{expected.low:.1%} to {expected.high:.1%}"
    return f"expected {expected.mean:.1%} ({bounds}), came {came:.1%}, {holds}"


if __name__ == "__main__":
    main()
