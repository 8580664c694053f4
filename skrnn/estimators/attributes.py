"""What fitted estimators have, for their documentation."""

from __future__ import annotations

ATTRIBUTES = """
weights_ : dict of str to ndarray
    Read-only: `set_weights` changes them. With PyTorch's names, layout and gate order (``weight_ih_l0``,
    ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, ``..._reverse``), plus ``head.weight`` and
    ``head.bias``, and ``skip.weight`` (outputs, steps times features) with `linear_skip`, and
    ``attention.weight`` and ``attention.query``, the W and v of ``pooling="attention"``; of tokens
    ``embedding.weight`` (tokens, numbers of each), or ``embedding_0.weight``, ``embedding_1.weight``, ... of
    several columns, whose numbers stand before the others of a step; with ``loss="crf"`` ``crf.transitions``
    (classes, classes), of which [i, j] scores class j after class i, ``crf.start_transitions`` and
    ``crf.end_transitions`` (classes,).
n_iter_ : int
    Epochs trained.
device_ : str
    Where `fit` computed: "cpu", "cuda:0", ...
loss_, best_loss_ : float or None
    Training loss of the last epoch, and the lowest of all; the mean over minibatches while the weights
    were changing. None where there was no epoch, after `from_weights`.
loss_curve_ : list of float
    Training loss of every epoch.
validation_scores_ : list of float or None
    `score` on the validation data after every epoch, with their sample weights and without class weights;
    None without validation data.
best_validation_score_ : float or None
    The highest of them; after a `warm_start`, of all fits.
history_ : dict of str to ndarray
    Columns ready for ``pandas.DataFrame``: epoch, loss, validation_score, learning_rate, gradient_norm
    (mean over the epoch's updates, before clipping), seconds (since the fit began; NaN for
    `partial_fit`). Of many calls of `partial_fit` it keeps, as `loss_curve_` does, the last 1,000.
n_features_in_ : int
    Columns of 2-D X, else features per time step; 1 for sequences of tokens.
feature_names_in_ : ndarray of str
    Column names, where X was a DataFrame with string names, or a list of them; with `channels_first` those of
    their rows.
step_columns_ : ndarray of int of shape (T, features per step)
    Which columns of 2-D X each time step reads, oldest step first, those of `static_columns` last.
n_tokens_ : list of int or None
    Rows of the table of each column of tokens; None without them.
categories_ : list of (ndarray or None), or None
    Of each column of tokens the values that it had in the fit, where they were strings or of a categorical
    type: token k is value k - 1. None where they were integers.
n_outputs_ : int
    Targets (regressors), or raw scores of the head (classifiers).
""".strip()

CLASSES = """
classes_ : ndarray of shape (n_classes,)
    Class labels; of label sets the numbers of the columns, or their names from `partial_fit`.
label_values_ : ndarray of shape (n_labels, 2) or None
    The two values of each column of label sets, the one for "is there" last; None for classes. They are
    learnt from y: 0 and 1, -1 and 1, False and True, "no" and "yes". A column that holds one value only has
    the pair of the other columns, if they have one in common, else 0 and 1, else that value twice.
"""

QUANTILES = """
quantiles_ : ndarray of shape (n_quantiles,)
    Levels of loss="quantile".
"""
