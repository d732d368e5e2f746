"""The loss layer in an ordinary PyTorch loop: digits of which 40 in 100 were typed at random."""

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import one_hot

from latentlabels import Categorical, ExactPhase, PairwiseCRF, Potentials, RobustLoss
from latentlabels.auxiliary.transition import given_transition, symmetric_transition

images, digits = (torch.tensor(part) for part in load_digits(return_X_y=True))
x, truth = images.float() / 16, one_hot(digits, 10).float()
generator = torch.Generator().manual_seed(0)
guessed = torch.rand(len(x), generator=generator) < 0.4
typed = torch.where(guessed, torch.randint(10, (len(x),), generator=generator), digits)
noisy, verified = one_hot(typed, 10).float(), torch.rand(len(x), generator=generator) < 0.05

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
crf = PairwiseCRF(noisy=Categorical(10), clean=Categorical(10))
auxiliary = given_transition(symmetric_transition(10, noise=0.36), crf.noisy, crf.clean)
loss_layer = RobustLoss(crf, auxiliary, ExactPhase(), alpha=0.2)
optimiser = torch.optim.Adam([*network.parameters(), *crf.parameters()], lr=3e-3)
for _ in range(40):
    for rows in torch.randperm(len(x)).split(128):
        potentials = Potentials(clean=network(x[rows]))
        loss = loss_layer(potentials, rows, noisy[rows], truth[rows], verified[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

cleaned = loss_layer.posterior(Potentials(clean=network(x)), noisy).argmax(-1)
wrong = [float((labels != digits)[~verified].double().mean()) for labels in (typed, cleaned)]
print(f"wrong labels: {wrong[0]:.0%} as typed, {wrong[1]:.0%} as cleaned")
assert wrong[1] < wrong[0] / 2
