"""How a model is trained: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule
from latentlabels.training.launching import Machines


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        epochs: passes over the noisy rows at most.
        patience: epochs without a better validation score after which training stops.
        batch_size: rows a batch; fewer where the data would not fill ten batches an epoch.
        verified_share: least share of a batch that is verified rows.
        learning_rate: Adam's step size for the network's layers and heads.
        encoder_learning_rate: Adam's step size for an encoder that is trained end to end.
        crf_learning_rate: Adam's step size for the CRF.
        epsilon: Adam's ε for layers, heads and CRF.
        encoder_epsilon: Adam's ε for the encoder.
        weight_decay: of the network.
        crf_weight_decay: of the CRF.
        schedule: "constant" step sizes, or "one-cycle": they rise over the first quarter of all
            updates, and fall to nothing by the last.
        averaging: decay of the running average of the weights, a step; 0 leaves the last weights.
        alpha: the auxiliary's weight over time.
        gibbs: chains a row and sweeps an update, where the negative phase is sampled.
        chain_file: where chains' states are mapped from; None keeps them in memory.
        checkpoints: a folder for the checkpoints of the best and the last epoch; a temporary one by
            default.
        resume: whether to go on after the last epoch in that folder, if there is one.
        workers: processes that read and prepare examples beside the training process.
        machines: where training takes place, on how many devices.
        seed: of batches, dropout and chains, below 2³².
    """

    epochs: int = 30
    patience: int = 10
    batch_size: int = 256
    verified_share: float = 0.25
    learning_rate: float = 2e-3
    encoder_learning_rate: float = 1e-4
    crf_learning_rate: float = 2e-3
    epsilon: float = 1e-8
    encoder_epsilon: float = 1e-8
    weight_decay: float = 1e-2
    crf_weight_decay: float = 1e-2
    schedule: str = "constant"
    averaging: float = 0.99
    alpha: AlphaSchedule = AlphaSchedule(8.0, 1.0, 10.0)
    gibbs: GibbsSchedule = GibbsSchedule()
    chain_file: Path | None = None
    checkpoints: Path | None = None
    resume: bool = False
    workers: int = 0
    machines: Machines = Machines()
    seed: int = 0
