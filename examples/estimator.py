"""The estimator: digit scenes with tags, a few of them verified."""

from latentlabels import RobustClassifier
from latentlabels.data.digits import digit_scenes

scenes = digit_scenes(rows=1500, seed=0)
x = scenes.images.reshape(len(scenes.images), -1)
checked = [
    labels if known else None for labels, known in zip(scenes.labels, scenes.verified, strict=True)
]
train = [row for row, part in enumerate(scenes.split) if part == "train"]
test = [row for row, part in enumerate(scenes.split) if part == "test"]

model = RobustClassifier(epochs=20, random_state=0)
model.fit(x[train], [scenes.tags[row] for row in train], clean=[checked[row] for row in train])

cleaned = model.clean(x[train], [scenes.tags[row] for row in train])
for row in range(3):
    print(cleaned.given[row], "→", cleaned.proposed[row], "added", cleaned.added[row])
score = model.score(x[test], [scenes.labels[row] for row in test])
print(f"mean average precision on new scenes: {score:.2f}")
assert score > 0.3
