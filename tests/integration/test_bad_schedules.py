"""Bad schedules: each mistake is one error with file, line, key and what to do, and nothing is touched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from secateur.config import loads
from secateur.errors import ConfigError
from secateur.plugins import current
from secateur.schedule.grammar import read_schedule
from secateur.schedule.scheduler import Scheduler

GOOD = """\
version: 1
pruners:
  filters: {class: agp, dims: "*", initial_sparsity: 0.1, final_sparsity: 0.5}
  weights:
    class: AutomatedGradualPruner
    initial_sparsity: 0.05
    final_sparsity: 0.7
    weights: [stem.weight, conv1.weight]
regularizers:
  lasso: {class: GroupLassoRegularizer, reg_regims: {conv1.weight: [0.001, Filters]}}
extensions:
  thinner: {class: FilterRemover, thinning_func_str: remove_filters, arch: resnet20, dataset: cifar10}
lr_schedulers:
  step: {class: StepLR, step_size: 1, gamma: 0.5}
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 1
    ending_epoch: 4
  - pruner:
      instance_name: weights
      args: {keep_mask: true, mini_batch_pruning_frequency: 4, mask_on_forward_only: true, mask_gradients: true}
    starting_epoch: 0
    ending_epoch: 20
    frequency: 2
  - regularizer: {instance_name: lasso, args: {keep_mask: true}}
    starting_epoch: 0
    ending_epoch: 4
  - extension: {instance_name: thinner}
    epochs: [4]
  - lr_scheduler: {instance_name: step}
    epochs: [0, 2]
"""

Mutation = str | tuple[str, str]
"""A whole document, or what is replaced in the good one, and by what."""

BAD: dict[str, tuple[Mutation, str]] = {
    # the document
    "no mapping": ("- 1\n", "s.yaml:1: expected a mapping, got a list"),
    "empty": ("", "s.yaml: is empty; write 'key: value' lines"),
    "a number": ("3\n", "s.yaml:1: expected a mapping, got 3"),
    "tab": (
        ("  filters:", "\tfilters:"),
        (
            "s.yaml:3: not valid YAML at column 1: found character '\\t' that cannot start any token; indent "
            "with spaces, not with tabs"
        ),
    ),
    "unclosed": (
        ("final_sparsity: 0.5}", "final_sparsity: 0.5"),
        (
            "s.yaml:4: not valid YAML at column 10: while parsing a flow mapping (line 3): expected ',' or "
            "'}', but got ':'; close the bracket, and put commas between its elements"
        ),
    ),
    "python object": (
        ("version: 1", "version: !!python/object:os.system {}"),
        (
            "s.yaml:1: version: tag '!!python/object:os.system' is not accepted here; quote a text that "
            "starts with '!', and write plain mappings, lists and values"
        ),
    ),
    "undefined alias": (
        ("version: 1", "version: *one"),
        (
            "s.yaml:1: not valid YAML at column 10: found undefined alias 'one'; quote a text that starts "
            "with '*', or define the anchor before its use"
        ),
    ),
    "second document": (
        ("policies:\n", "---\npolicies:\n"),
        "s.yaml:15: a second document starts here; remove the '---' line",
    ),
    "repeated key": (
        ("    final_sparsity: 0.7\n", "    final_sparsity: 0.7\n    final_sparsity: 0.8\n"),
        ("s.yaml:8: pruners.weights: key 'final_sparsity' stands twice, first in line 7, with another value; keep one"),
    ),
    "repeated section": (
        ("regularizers:\n", "pruners:\n"),
        "s.yaml:9: key 'pruners' stands twice, first in line 2, with another value; keep one",
    ),
    # sections
    "section": (
        ("pruners:", "pruner:"),
        (
            "s.yaml:2: unknown section 'pruner'; did you mean 'pruners'? (known: extensions, lr_schedulers, "
            "plugins, policies, pruners, regularizers, run, version)"
        ),
    ),
    "section in capitals": (
        ("policies:", "Policies:"),
        (
            "s.yaml:15: unknown section 'Policies'; did you mean 'policies'? (known: extensions, "
            "lr_schedulers, plugins, policies, pruners, regularizers, run, version)"
        ),
    ),
    "foreign section": (
        ("regularizers:", "losses:"),
        (
            "s.yaml:9: unknown section 'losses'; (known: extensions, lr_schedulers, plugins, policies, "
            "pruners, regularizers, run, version)"
        ),
    ),
    "quantizers": (
        ("regularizers:", "quantizers:"),
        "s.yaml:9: Secateur does not quantize; remove the section and its policies",
    ),
    "version": (("version: 1", "version: 2"), "s.yaml:1: version: expected version 1, got 2"),
    "version text": (("version: 1", "version: 'one'"), "s.yaml:1: version: expected version 1, got 'one'"),
    "version true": (("version: 1", "version: true"), "s.yaml:1: version: expected version 1, got true"),
    "plugin": (
        ("version: 1", "plugins: [no-such-plugin]"),
        "s.yaml:1: plugins[0]: plugin 'no-such-plugin' is not installed;",
    ),
    "plugins": (("version: 1", "plugins: pruners"), "s.yaml:1: plugins: expected a list, got 'pruners'"),
    "policies": ("policies: 3\n", "s.yaml:1: policies: expected a list, got 3"),
    "pruners list": ("pruners: [1]\n", "s.yaml:1: pruners: expected a mapping, got a list"),
    "a number as a name": (
        "pruners: {1: {class: agp}}\n",
        "s.yaml:1: pruners: a key must be a string, got 1; quote it: '1'",
    ),
    "extensions text": ("extensions: thinner\n", "s.yaml:1: extensions: expected a mapping, got 'thinner'"),
    # classes
    "class": (
        ("class: agp", "class: apg"),
        "s.yaml:3: pruners.filters.class: no pruner named 'apg'; did you mean 'agp'?",
    ),
    "class in capitals": (
        ("class: agp", "class: AGP"),
        "s.yaml:3: pruners.filters.class: no pruner named 'AGP'; did you mean 'agp'?",
    ),
    "no class": (("class: agp, ", ""), "s.yaml:3: pruners.filters: required key missing: 'class'"),
    "class of a list": (
        ("class: agp", "class: [agp]"),
        "s.yaml:3: pruners.filters.class: expected the name of a class, got a list",
    ),
    "class null": (
        ("class: agp", "class:"),
        "s.yaml:3: pruners.filters.class: expected the name of a class, got nothing",
    ),
    "their class": (
        ("class: AutomatedGradualPruner", "class: AutomaticGradualPruner"),
        (
            "s.yaml:5: pruners.weights.class: no pruner named 'AutomaticGradualPruner'; did you mean "
            "'AutomatedGradualPruner'?"
        ),
    ),
    "entry null": ("pruners: {filters: }\n", "s.yaml:1: pruners.filters: expected a mapping, got nothing"),
    "entry text": ("pruners: {filters: agp}\n", "s.yaml:1: pruners.filters: expected a mapping, got 'agp'"),
    "regularizer class": (
        ("class: GroupLassoRegularizer", "class: GroupLasoRegularizer"),
        (
            "s.yaml:10: regularizers.lasso.class: no regularizer named 'GroupLasoRegularizer'; did you mean "
            "'GroupLassoRegularizer'?"
        ),
    ),
    "regularizer as pruner": (
        ("class: agp", "class: GroupLassoRegularizer"),
        (
            "s.yaml:3: pruners.filters.class: no pruner named 'GroupLassoRegularizer'; it is a regularizer: "
            "move the entry to section 'regularizers'"
        ),
    ),
    "extension class": (
        ("class: FilterRemover", "class: FiltersRemover"),
        (
            "s.yaml:12: extensions.thinner.class: no extension named 'FiltersRemover'; did you mean "
            "'FilterRemover'? (known: ChannelRemover, FilterRemover, StructureRemover, thinner)"
        ),
    ),
    "lr class": (
        ("class: StepLR", "class: StepRL"),
        ("s.yaml:14: lr_schedulers.step.class: no learning-rate scheduler named 'StepRL'; did you mean 'StepLR'?"),
    ),
    "lambda": (
        ("class: StepLR", "class: LambdaLR"),
        (
            "s.yaml:14: lr_schedulers.step.class: LambdaLR takes a Python function, which a schedule cannot "
            "say; write MultiStepMultiGammaLR or PolynomialLR, or step it in the training loop"
        ),
    ),
    "sequential": (
        ("class: StepLR", "class: SequentialLR"),
        (
            "s.yaml:14: lr_schedulers.step.class: SequentialLR takes other schedulers; give each an entry of "
            "its own under lr_schedulers; bind each to its epochs by a policy"
        ),
    ),
    "chained": (
        ("class: StepLR", "class: ChainedScheduler"),
        (
            "s.yaml:14: lr_schedulers.step.class: ChainedScheduler takes other schedulers; give each an "
            "entry of its own under lr_schedulers; bind all of them to the same epochs, by a policy each: "
            "their factors multiply"
        ),
    ),
    "multiplicative": (
        ("class: StepLR", "class: MultiplicativeLR"),
        (
            "s.yaml:14: lr_schedulers.step.class: MultiplicativeLR takes a Python function, which a schedule "
            "cannot say; write ExponentialLR or MultiStepMultiGammaLR, or step it in the training loop"
        ),
    ),
    # keys and values of entries
    "key": (
        (", initial_", ", intial_"),
        "s.yaml:3: pruners.filters: unknown key 'intial_sparsity'; did you mean 'initial_sparsity'?",
    ),
    "key of a spelled class": (
        ("    initial_", "    intial_"),
        "s.yaml:6: pruners.weights: unknown key 'intial_sparsity'; did you mean 'initial_sparsity'?",
    ),
    "missing": (("initial_sparsity: 0.1, ", ""), "s.yaml:3: pruners.filters: required key missing: 'initial_sparsity'"),
    "missing of a spelled class": (
        ("    initial_sparsity: 0.05\n", ""),
        "s.yaml:5: pruners.weights: give either sparsity, or initial_sparsity and final_sparsity",
    ),
    "range": (("0.5}", "1.5}"), "s.yaml:3: pruners.filters.final_sparsity: must be in [0, 1), got 1.5"),
    "negative share": (("0.5}", "-0.5}"), "s.yaml:3: pruners.filters.final_sparsity: must be in [0, 1), got -0.5"),
    "percent": (("0.5}", "50%}"), "s.yaml:3: pruners.filters.final_sparsity: expected a number, got '50%'"),
    "text for a number": (("0.5}", "half}"), "s.yaml:3: pruners.filters.final_sparsity: expected a number, got 'half'"),
    "quoted number": (
        ("0.5}", "'0.5'}"),
        "s.yaml:3: pruners.filters.final_sparsity: expected a number, got '0.5'; remove the quotes",
    ),
    "decimal comma": (
        ("    final_sparsity: 0.7", "    final_sparsity: 0,7"),
        "s.yaml:7: pruners.weights.final_sparsity: expected a number, got '0,7'",
    ),
    "falling": (("0.1", "0.6"), "s.yaml:3: pruners.filters: final_sparsity 0.5 is less than initial_sparsity 0.6"),
    "criterion": (
        ('"*"', '"*", criterion: l3'),
        "s.yaml:3: pruners.filters.criterion: no criterion named 'l3'; did you mean 'l2'?",
    ),
    "scope": (
        ('"*"', '"*", scope: globl'),
        ("s.yaml:3: pruners.filters.scope: unknown value 'globl'; did you mean 'global'? (known: "),
    ),
    "round_to": (('"*"', '"*", round_to: 0'), "s.yaml:3: pruners.filters.round_to: must be positive, got 0"),
    "rounded text": (
        ('"*"', '"*", round_to: 8.0'),
        "s.yaml:3: pruners.filters.round_to: expected an integer, got 8.0; write 8",
    ),
    "patterns": (
        ("[stem.weight, conv1.weight]", "{stem.weight: 1}"),
        "s.yaml:8: pruners.weights.weights: expected a string or a list of strings or null, got a mapping",
    ),
    "pattern number": (
        ("[stem.weight, conv1.weight]", "[stem.weight, 3]"),
        "s.yaml:8: pruners.weights.weights[1]: expected a string, got 3; quote it: '3'",
    ),
    "no weights": (
        ("    weights: [stem.weight, conv1.weight]\n", ""),
        "s.yaml:5: pruners.weights: weights must name what is pruned: a list of names or globs",
    ),
    "regimes": (
        ("{conv1.weight: [0.001, Filters]}", "[conv1.weight]"),
        (
            "s.yaml:10: regularizers.lasso.reg_regims: expected a mapping of strings to lists of a number "
            "and a string, got a list"
        ),
    ),
    "strength": (
        ("[0.001, Filters]", "[much, Filters]"),
        "s.yaml:10: regularizers.lasso.reg_regims['conv1.weight'][0]: expected a number, got 'much'",
    ),
    "group": (
        ("[0.001, Filters]", "[0.001, Filter]"),
        (
            "s.yaml:10: regularizers.lasso.reg_regims: of 'conv1.weight': no group type named 'Filter'; did "
            "you mean 'Filters'?"
        ),
    ),
    "regime too short": (
        ("[0.001, Filters]", "[0.001]"),
        (
            "s.yaml:10: regularizers.lasso.reg_regims['conv1.weight']: expected a list of a number and a "
            "string, got a list of 1"
        ),
    ),
    "regularizer key": (
        ("reg_regims", "reg_regimes"),
        "s.yaml:10: regularizers.lasso: unknown key 'reg_regimes'; did you mean 'reg_regims'?",
    ),
    "extension key": (
        ("arch: resnet20", "architecture: resnet20"),
        (
            "s.yaml:12: extensions.thinner: unknown key 'architecture'; did you mean 'arch'? (known: arch, "
            "dataset, thinning_func_str, verify)"
        ),
    ),
    "thinning function": (
        ("remove_filters", "remove_filter"),
        (
            "s.yaml:12: extensions.thinner.thinning_func_str: unknown value 'remove_filter'; did you mean "
            "'remove_filters'? (known: contract_model, remove_channels, remove_filters)"
        ),
    ),
    "verify": (("arch: resnet20", "verify: 3"), "s.yaml:12: extensions.thinner.verify: expected true or false, got 3"),
    "lr key": (
        ("step_size", "stepsize"),
        ("s.yaml:14: lr_schedulers.step: unknown key 'stepsize'; did you mean 'step_size'? (known: gamma, step_size)"),
    ),
    "lr missing": (("step_size: 1, ", ""), "s.yaml:14: lr_schedulers.step: required key missing: 'step_size'"),
    "lr type": (
        ("step_size: 1", "step_size: one"),
        "s.yaml:14: lr_schedulers.step.step_size: expected an integer, got 'one'",
    ),
    "lr given": (
        ("step_size: 1", "step_size: 1, last_epoch: 3"),
        "s.yaml:14: lr_schedulers.step: 'last_epoch' is given by Secateur; leave it out",
    ),
    "lr optimizer": (
        ("step_size: 1", "step_size: 1, optimizer: SGD"),
        "s.yaml:14: lr_schedulers.step: 'optimizer' is given by Secateur; leave it out",
    ),
    "milestones": (
        ("StepLR, step_size: 1, gamma: 0.5", "MultiStepMultiGammaLR, milestones: [2, 1], gammas: [1, 1]"),
        "s.yaml:14: lr_schedulers.step: milestones must ascend, got 2, 1",
    ),
    "gammas": (
        ("StepLR, step_size: 1, gamma: 0.5", "MultiStepMultiGammaLR, milestones: [1, 2], gammas: [1]"),
        ("s.yaml:14: lr_schedulers.step: milestones and gammas must be equally long, got 2 milestones and 1 gammas"),
    ),
    "no weights of ranked filters": (
        "pruners: {p: {class: L1RankedStructureParameterPruner, desired_sparsity: 0.5, group_type: Filters}}\n",
        "s.yaml:1: pruners.p: required key missing: 'weights'",
    ),
    # policies
    "policy text": (
        ("  - extension: {instance_name: thinner}\n    epochs: [4]\n", "  - thinner\n"),
        "s.yaml:28: policies[3]: expected a mapping, got 'thinner'",
    ),
    "no kind": (
        ("  - extension: {instance_name: thinner}\n    epochs: [4]\n", "  - epochs: [4]\n"),
        (
            "s.yaml:28: policies[3]: a policy names exactly one of pruner, regularizer, lr_scheduler, "
            "extension; found none; (known: extension, lr_scheduler, pruner, regularizer)"
        ),
    ),
    "kind": (
        ("  - extension:", "  - extensoin:"),
        (
            "s.yaml:28: policies[3]: a policy names exactly one of pruner, regularizer, lr_scheduler, "
            "extension; found none; did you mean 'extension'? (known: extension, lr_scheduler, pruner, "
            "regularizer)"
        ),
    ),
    "two kinds": (
        (
            "  - extension: {instance_name: thinner}",
            "  - extension: {instance_name: thinner}\n    pruner: {instance_name: filters}",
        ),
        (
            "s.yaml:28: policies[3]: a policy names exactly one of pruner, regularizer, lr_scheduler, "
            "extension; found pruner, extension; split it in two"
        ),
    ),
    "quantizer": (
        ("  - extension:", "  - quantizer:"),
        "s.yaml:28: policies[3]: Secateur does not quantize; remove the policy",
    ),
    "instance": (
        ("instance_name: filters", "instance_name: filter"),
        (
            "s.yaml:16: policies[0].pruner.instance_name: no pruner named 'filter' in section 'pruners'; did "
            "you mean 'filters'? (known: filters, weights)"
        ),
    ),
    "instance of another section": (
        ("extension: {instance_name: thinner}", "pruner: {instance_name: thinner}"),
        (
            "s.yaml:28: policies[3].pruner.instance_name: no pruner named 'thinner' in section 'pruners'; it "
            "stands in section 'extensions'"
        ),
    ),
    "instance list": (
        ("instance_name: filters", "instance_name: [filters]"),
        "s.yaml:16: policies[0].pruner.instance_name: expected a single value, got a list",
    ),
    "no instance": (
        ("{instance_name: thinner}", "{}"),
        "s.yaml:28: policies[3].extension: required key missing: 'instance_name'",
    ),
    "instance key": (
        ("{instance_name: thinner}", "{instance: thinner}"),
        (
            "s.yaml:28: policies[3].extension: unknown key 'instance'; did you mean 'instance_name'? (known: "
            "args, instance_name)"
        ),
    ),
    "binding text": (
        ("{instance_name: thinner}", "thinner"),
        "s.yaml:28: policies[3].extension: expected a mapping, got 'thinner'",
    ),
    "binding null": (
        ("{instance_name: thinner}", ""),
        "s.yaml:28: policies[3].extension: expected a mapping, got nothing",
    ),
    "policy key": (
        ("    frequency: 2\n", "    frequency: 2\n    often: 1\n"),
        ("s.yaml:25: policies[1]: unknown key 'often'; (known: ending_epoch, epochs, frequency, starting_epoch)"),
    ),
    "args beside the binding": (
        ("    frequency: 2\n", "    frequency: 2\n    args: {keep_mask: true}\n"),
        "s.yaml:25: policies[1]: 'args' belongs below 'pruner'; indent it",
    ),
    # windows
    "no window": (
        ("    epochs: [4]\n", ""),
        "s.yaml:28: policies[3]: give either epochs, or starting_epoch and ending_epoch",
    ),
    "half a window": (
        ("    ending_epoch: 20\n", ""),
        "s.yaml:19: policies[1]: starting_epoch and ending_epoch belong together",
    ),
    "the other half": (
        ("    starting_epoch: 0\n    ending_epoch: 20\n", "    ending_epoch: 20\n"),
        "s.yaml:19: policies[1]: starting_epoch and ending_epoch belong together",
    ),
    "both windows": (
        ("    frequency: 2\n", "    epochs: [1]\n"),
        "s.yaml:19: policies[1]: give either epochs, or starting_epoch and ending_epoch",
    ),
    "epochs with frequency": (
        ("epochs: [4]", "epochs: [4]\n    frequency: 2"),
        "s.yaml:28: policies[3]: frequency belongs to starting_epoch and ending_epoch, not to epochs",
    ),
    "empty window": (
        ("ending_epoch: 4", "ending_epoch: 1"),
        "s.yaml:16: policies[0]: ending_epoch (exclusive) must be greater than starting_epoch, got 1 to 1",
    ),
    "window backwards": (
        ("ending_epoch: 4", "ending_epoch: 0"),
        "s.yaml:16: policies[0]: ending_epoch (exclusive) must be greater than starting_epoch, got 1 to 0",
    ),
    "negative start": (
        ("starting_epoch: 1", "starting_epoch: -1"),
        "s.yaml:17: policies[0].starting_epoch: must not be negative, got -1",
    ),
    "fraction": (
        ("starting_epoch: 1", "starting_epoch: 1.5"),
        "s.yaml:17: policies[0].starting_epoch: expected an integer, got 1.5",
    ),
    "no epochs": (
        ("epochs: [4]", "epochs: []"),
        "s.yaml:28: policies[3]: epochs must be an ascending list of distinct numbers from 0 on",
    ),
    "epochs backwards": (
        ("[0, 2]", "[2, 0]"),
        "s.yaml:30: policies[4]: epochs must be an ascending list of distinct numbers from 0 on",
    ),
    "epochs twice": (
        ("[0, 2]", "[2, 2]"),
        "s.yaml:30: policies[4]: epochs must be an ascending list of distinct numbers from 0 on",
    ),
    "negative epoch": (
        ("[4]", "[-4]"),
        "s.yaml:28: policies[3]: epochs must be an ascending list of distinct numbers from 0 on",
    ),
    "epoch text": (("[4]", "[four]"), "s.yaml:29: policies[3].epochs[0]: expected an integer, got 'four'"),
    "one epoch": (("[4]", "4"), "s.yaml:29: policies[3].epochs: expected a list of integers, got 4; write [4]"),
    "octal": (("[4]", "[010]"), "s.yaml:29: policies[3].epochs[0]: YAML reads 010 as 8; write it in decimal"),
    "frequency zero": (("frequency: 2", "frequency: 0"), "s.yaml:24: policies[1].frequency: must be at least 1, got 0"),
    "frequency text": (
        ("frequency: 2", "frequency: often"),
        "s.yaml:24: policies[1].frequency: expected an integer, got 'often'",
    ),
    "one step": (
        ("ending_epoch: 4", "ending_epoch: 2"),
        (
            "s.yaml:16: policies[0]: agp needs at least two epochs at which it prunes: widen the window or "
            "lower frequency"
        ),
    ),
    "frequency too wide": (
        ("frequency: 2", "frequency: 20"),
        (
            "s.yaml:19: policies[1]: AutomatedGradualPruner needs at least two epochs at which it prunes: "
            "widen the window or lower frequency"
        ),
    ),
    "window key": (
        ("starting_epoch: 1", "start_epoch: 1"),
        (
            "s.yaml:17: policies[0]: unknown key 'start_epoch'; did you mean 'starting_epoch'? (known: "
            "ending_epoch, epochs, frequency, starting_epoch)"
        ),
    ),
    # args
    "args text": (
        ("args: {keep_mask: true}", "args: keep_mask"),
        "s.yaml:25: policies[2].regularizer.args: expected a mapping, got 'keep_mask'",
    ),
    "arg": (
        ("{keep_mask: true, ", "{keep_masks: true, "),
        "s.yaml:21: policies[1].pruner.args: unknown key 'keep_masks'; did you mean 'keep_mask'?",
    ),
    "arg type": (
        ("{keep_mask: true, ", "{keep_mask: 1, "),
        "s.yaml:21: policies[1].pruner.args.keep_mask: expected true or false, got 1",
    ),
    "arg quoted": (
        ("{keep_mask: true, ", "{keep_mask: 'true', "),
        ("s.yaml:21: policies[1].pruner.args.keep_mask: expected true or false, got 'true'; remove the quotes"),
    ),
    "negative mini-batches": (
        ("frequency: 4", "frequency: -4"),
        "s.yaml:21: policies[1].pruner.args.mini_batch_pruning_frequency: must not be negative, got -4",
    ),
    "mini-batches text": (
        ("frequency: 4", "frequency: few"),
        "s.yaml:21: policies[1].pruner.args.mini_batch_pruning_frequency: expected an integer, got 'few'",
    ),
    "gradients alone": (
        ("mask_on_forward_only: true, ", ""),
        "s.yaml:21: policies[1].pruner.args: mask_gradients needs mask_on_forward_only: true",
    ),
    "arg of pruners": (
        ("lasso, args: {keep_mask", "lasso, args: {mask_gradients"),
        (
            "s.yaml:25: policies[2].regularizer.args: a policy of kind regularizer does not take "
            "'mask_gradients'; (known: keep_mask)"
        ),
    ),
    "arg of learning rates": (
        ("{keep_mask: true, ", "{count_from: window, "),
        "s.yaml:21: policies[1].pruner.args: a policy of kind pruner does not take 'count_from'; (known: ",
    ),
    "arg of nobody": (
        ("lasso, args: {keep_mask", "lasso, args: {kep_mask"),
        (
            "s.yaml:25: policies[2].regularizer.args: unknown key 'kep_mask'; did you mean 'keep_mask'? "
            "(known: keep_mask)"
        ),
    ),
    "args of an extension": (
        ("{instance_name: thinner}", "{instance_name: thinner, args: {keep_mask: true}}"),
        "s.yaml:28: policies[3].extension.args: a policy of kind extension takes no args; remove them",
    ),
    "a drop filter that is held": (
        (
            '{class: agp, dims: "*", initial_sparsity: 0.1, final_sparsity: 0.5}',
            "{class: BernoulliFilterPruner, desired_sparsity: 0.5, group_type: Filters, weights: [conv1.weight]}",
        ),
        (
            "s.yaml:16: policies[0].pruner: BernoulliFilterPruner scales what it keeps, which must not be done again "
            "at every step; add args: {mask_on_forward_only: true, use_double_copies: true}"
        ),
    ),
    "args of a scheduler": (
        ("{instance_name: step}", "{instance_name: step, args: {levels: 3}}"),
        (
            "s.yaml:30: policies[4].lr_scheduler.args: a policy of kind lr_scheduler does not take 'levels'; "
            "(known: count_from)"
        ),
    ),
    "levels": (
        ("instance_name: filters", "instance_name: filters, args: {levels: 0.5}"),
        (
            "s.yaml:16: policies[0].pruner.args.levels: agp has no levels; leave args.levels out, or name a "
            "pruner that takes levels"
        ),
    ),
    "levels beside shares": (
        ("{keep_mask: true, ", "{levels: 0.5, "),
        (
            "s.yaml:21: policies[1].pruner.args.levels: 'weights' refuses levels here: levels say the "
            "shares: leave out sparsity, initial_sparsity and final_sparsity"
        ),
    ),
    # what stands in another place
    "instance beside the binding": (
        (
            "  - lr_scheduler: {instance_name: step}\n",
            "  - lr_scheduler: {instance_name: step}\n    instance_name: step\n",
        ),
        "s.yaml:31: policies[4]: 'instance_name' belongs below 'lr_scheduler'; indent it",
    ),
    "pruner as regularizer": (
        ("class: GroupLassoRegularizer", "class: level"),
        (
            "s.yaml:10: regularizers.lasso.class: no regularizer named 'level'; it is a pruner: move the "
            "entry to section 'pruners'"
        ),
    ),
}


def mutated(mutation: Mutation) -> str:
    if isinstance(mutation, str):
        return mutation
    old, new = mutation
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.stem, model.conv1 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
    return model


def test_the_schedule_itself_is_good() -> None:
    policies = read_schedule(loads(GOOD, "s.yaml"), current()).policies
    assert [policy.kind for policy in policies] == ["pruner", "pruner", "regularizer", "extension", "lr_scheduler"]


def test_there_are_many_mistakes_and_all_differ() -> None:
    texts = {mutated(mutation) for mutation, _ in BAD.values()}
    assert len(texts) == len(BAD) >= 60


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_error_and_nothing_is_touched(name: str) -> None:
    mutation, message = BAD[name]
    text, model = mutated(mutation), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before, groups = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ConfigError) as caught:
        Scheduler.from_yaml(loads(text, "s.yaml"), model, optimizer, (torch.zeros(1, 3, 8, 8),))
    said = str(caught.value)
    assert said.startswith(message)
    assert "\n" not in said
    assert optimizer.state_dict() == groups
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
