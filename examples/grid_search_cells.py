"""Which cell reads digits best? A grid search over cells, with the cell as a parameter.

scikit-learn's 8 x 8 digits are read row by row: each image is a sequence of 8 steps of 8 features.
The images stay the plain 2-D array that every scikit-learn tool takes; `features_per_step` says how
to cut a row into steps. Printed are the cross-validated table and the test accuracy of the best.
"""

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn import RNNClassifier, SequenceTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

model = make_pipeline(
    SequenceTransformer(StandardScaler(), features_per_step=8),
    RNNClassifier(64, features_per_step=8, max_iter=30, learning_rate_init=3e-3, random_state=0),
)
search = GridSearchCV(
    model,
    [
        {"rnnclassifier__cell": ["rnn"], "rnnclassifier__activation": ["tanh", "relu"]},
        {"rnnclassifier__cell": ["lstm"]},
        {"rnnclassifier__cell": ["gru"], "rnnclassifier__reset_after": [True, False]},
    ],
    cv=3,
    n_jobs=2,
).fit(X_train, y_train)

table = pd.DataFrame(search.cv_results_)
table = table.filter(regex="^param_|mean_test_score|mean_fit_time").fillna("-")
table.columns = table.columns.str.replace("param_rnnclassifier__", "")
print(table.sort_values("mean_test_score", ascending=False).round(3).to_string(index=False))
print(f"\ntest accuracy of the best: {search.score(X_test, y_test):.3f}")
