"""What optimizers keep of parameters is cut with them, so that training goes on as that of the masked network."""

from __future__ import annotations

from secateur.thinning.optimizer.following import Followed as Followed
from secateur.thinning.optimizer.following import follow as follow
from secateur.thinning.optimizer.following import optimizers_in as optimizers_in
from secateur.thinning.optimizer.rules import rule_of as rule_of
from secateur.thinning.optimizer.rules import unfollowed as unfollowed
from secateur.thinning.optimizer.torch_rules import RULES as RULES
