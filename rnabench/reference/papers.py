"""The papers whose numbers are here: what sentences call each, and what its numbers are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paper:
    """`file` holds its numbers. `called` is its name in a sentence, `cited` who wrote it and when.

    `scale` says what its numbers are of, `protocol` which of ours its columns are measured under, and `columns` what
    those and others mean, and where its attacks are set otherwise than those that are run here. `stated` has, by
    column, the attack's settings as the paper states them; all are an attack's own defaults where there are none.
    """

    file: str
    called: str
    cited: str
    scale: str
    protocol: str
    columns: str
    stated: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """Its name as a sentence begins with it."""
        return self.called[0].upper() + self.called[1:]


AVERAGING = "the attacker averages the gradient over K fresh paths at every step"
SINGLE = "a network with a single path has the same number under all protocols."

RNA = Paper(
    "paper_tables.csv", "the paper", "Dong et al., NeurIPS 2022",
    "full networks, 200 epochs and all test images of the data set that it names", "paper",
    "The paper's columns are under its protocol: one path is attacked, others predict. The columns with `eot:K` are "
    f"what the paper does not have: {AVERAGING}; {SINGLE}",
)
ROBUSTNORM = Paper(
    "robustnorm.csv", "the RobustNorm paper", "Muhammad et al., IEEE Access 2023",
    "full networks and 100 or 150 epochs on the data set that it names", "paper",
    "Every network is attacked as it is used: where its statistics are the batch's, the attack goes through them, and "
    "a number is one of batches of that size. Steps are eps / 4 here; the paper's are 2/255 at every eps, and eps / 10 "
    "with FGSM, BIM, MIM and CW beside, where it moreover bounds pixels that are normalised already.",
    {"cw": {"steps": 10, "c": 0.1, "searches": 2}},
)
SORS = Paper(
    "sors.csv", "the SORS paper", "Bian et al., Neurocomputing 2021",
    "full networks and about 250 epochs on the data set that it names", "resample",
    "The SORS paper's columns are under its white box, here `resample`: every step of the attack and every prediction "
    "draws a path. In the columns with `paper` one path is attacked and others predict; in those with `eot:K` "
    f"{AVERAGING}, which is the paper's adaptive attack up to K = 5; {SINGLE} Its MIM steps by eps / 10, here by "
    "eps / 4.",
    {"cw100": {"steps": 100}, "cw10000": {"steps": 10000}},
)
THESIS = Paper(
    "thesis.csv", "the thesis", "Xie, PhD thesis, Johns Hopkins University 2020",
    "full networks, 90 to 110 epochs and all test images of ImageNet, unless a line says otherwise", "paper",
    "All networks of the thesis have a single path. A column with `targeted` is what its chapters 4 and 6 attack by: "
    "PGD towards a wrong class, drawn at random, which is easier to withstand than PGD away from the true one, as it "
    f"is run here. In columns with `eot:K` {AVERAGING}; {SINGLE}",
)
PAPERS = (RNA, ROBUSTNORM, SORS, THESIS)
