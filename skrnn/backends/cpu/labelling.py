"""From the probabilities of labels at each step to label sequences: on the host, whatever the network ran on.

All functions take one sequence: log p (T, K), in float64, flat; label 0 is the blank.
"""

from __future__ import annotations

from math import exp, inf, log

from .jit import kernel
from .log_paths import label_of, skips


@kernel("best_path_labels")
def best_path_labels(K, log_p, last, labels, places):
    """Of the most probable label of each step, those that are neither blank nor the same as just before:
    labels, and in places the steps at which they begin. last[0]: of the step before, and then of the last
    one; returns how many there are."""
    n = 0
    for t in range(len(log_p) // K):
        best = 0
        for k in range(1, K):
            if log_p[t * K + k] > log_p[t * K + best]:
                best = k
        if best != 0 and best != last[0]:
            labels[n], places[n] = best, t
            n += 1
        last[0] = best
    return n


@kernel("align_labels")
def align_labels(K, log_p, y, score, came_from, first, last):
    """first, last (S,): the steps at which each label of y is said on the most probable path that says them
    (Viterbi 1967); returns its log probability. score: 2 J, came_from: T J, for J = 2 S + 1 states, of which
    j is a blank where j is even."""
    T, S = len(log_p) // K, len(y)
    J = 2 * S + 1
    for t in range(T):
        now, before = t % 2 * J, (t + 1) % 2 * J
        for j in range(J):
            most, back = 0.0 if j < 2 else -inf, 0
            if t > 0:
                most = score[before + j]
                if j > 0 and score[before + j - 1] > most:
                    most, back = score[before + j - 1], 1
                if skips(j, y) and score[before + j - 2] > most:
                    most, back = score[before + j - 2], 2
            score[now + j] = most + log_p[t * K + label_of(j, y)]
            came_from[t * J + j] = back
    end = (T - 1) % 2 * J
    j = J - 1
    if S > 0 and score[end + J - 2] > score[end + J - 1]:
        j = J - 2
    total = score[end + j]
    for t in range(T - 1, -1, -1):
        if j % 2 == 1:
            i = (j - 1) // 2
            if t == T - 1 or last[i] < 0:
                last[i] = t
            first[i] = t
        j -= came_from[t * J + j]
    return total


@kernel("search_prefixes")
def search_prefixes(K, width, log_p, weights, n_kept, n_nodes, parent, label, child, sibling, node, ends,
                    said, log_scale, p, new_said, new_ends, came_from, came_by, totals):  # fmt: skip
    """Go on with a search for the most probable label sequences (Graves 2012, "Sequence transduction with
    recurrent neural networks"; of paths that say the same, the probabilities are added up).

    Nodes of a tree are beginnings of label sequences: parent, label, first child and next sibling. Of the
    ``n_kept[0]`` that are kept, at most `width`: their node, and the probabilities of the paths that end in a
    blank, `ends`, and in their last label, `said`, times exp(-log_scale[0]). weights (width, K): of the label
    that comes next, for whoever has something to say about it. The others are room: p of K,
    new_* of 2 `width`, came_* and totals of `width`.
    """
    for t in range(len(log_p) // K):
        n, n_new = n_kept[0], 0
        for k in range(K):
            p[k] = exp(log_p[t * K + k])
        # those that stay as they are, and what comes to them from their beginning, if this is kept, too
        for b in range(n):
            i = node[b]
            new_ends[b] = (ends[b] + said[b]) * p[0]
            new_said[b] = said[b] * p[label[i]] if i > 0 else 0.0
        for m in range(n):
            if node[m] == 0:
                continue
            for b in range(n):
                if node[b] == parent[node[m]]:
                    k = label[node[m]]
                    before = ends[b] + (said[b] if k != label[node[b]] or node[b] == 0 else 0.0)
                    new_said[m] += before * p[k] * weights[b * K + k]
        # the best of them and of all that are longer by a label
        for b in range(n):
            for k in range(K):
                if k == 0:
                    total = new_ends[b] + new_said[b]
                else:
                    before = ends[b] + (said[b] if k != label[node[b]] or node[b] == 0 else 0.0)
                    total = before * p[k] * weights[b * K + k]
                if not total > 0 or (n_new == width and total <= totals[n_new - 1]):
                    continue
                if k > 0:
                    i = child[node[b]]
                    while i >= 0 and label[i] != k:
                        i = sibling[i]
                    kept = False
                    if i >= 0:
                        for m in range(n):
                            kept = kept or node[m] == i
                    if kept:
                        continue
                at = n_new if n_new < width else width - 1
                while at > 0 and total > totals[at - 1]:
                    totals[at], came_from[at], came_by[at] = (
                        totals[at - 1],
                        came_from[at - 1],
                        came_by[at - 1],
                    )
                    at -= 1
                totals[at], came_from[at], came_by[at] = total, b, k
                n_new = min(n_new + 1, width)
        if n_new == 0:
            n_kept[0] = 0
            return
        # what is kept; the room behind `width` takes what is overwritten too early
        for m in range(n_new):
            b, k = came_from[m], came_by[m]
            i = node[b]
            if k > 0:
                i = child[node[b]]
                while i >= 0 and label[i] != k:
                    i = sibling[i]
                if i < 0:
                    i = n_nodes[0]
                    parent[i], label[i], child[i], sibling[i] = node[b], k, -1, child[node[b]]
                    child[node[b]] = i
                    n_nodes[0] += 1
            came_by[m] = i
            new_ends[width + m] = new_ends[b] if k == 0 else 0.0
            new_said[width + m] = new_said[b] if k == 0 else totals[m]
        scale = totals[0]
        for m in range(n_new):
            node[m] = came_by[m]
            ends[m], said[m] = new_ends[width + m] / scale, new_said[width + m] / scale
        log_scale[0] += log(scale)
        n_kept[0] = n_new
