"""English sentences of the report."""

from __future__ import annotations

from collections.abc import Mapping

ENGLISH: Mapping[str, str] = {
    "title": "Visual inspection: acceptance report",
    "subtitle": "{line} · {date} · {n_images} labelled images of {n_classes} classes · head {kind}, encoder {encoder}",
    "none": "–",
    "percent": "{value}\N{NO-BREAK SPACE}%",
    "percent_interval": "{low} to {high}\N{NO-BREAK SPACE}%",
    "points": "{value}\N{NO-BREAK SPACE}points",
    "points_interval": "{low} to {high}",
    "range": "{low} to {high}",
    "k_of_n": "{k} of {n}",
    "money": "{value}\N{NO-BREAK SPACE}{currency}",
    "verdict_ready": "Good enough to trial: {value} right (95 % interval {interval}) on {n} images it never saw; at "
    "least {least} was asked for, and the interval's lower end shows it.",
    "verdict_too_few": "Not yet: {value} right is above the {least} asked for, but {n} sealed images only show "
    "{interval}.",
    "verdict_too_low": "Not yet: {value} right (95 % interval {interval}) on {n} images it never saw; {least} was "
    "asked for.",
    "verdict_worse": "Not yet: {value} right (95 % interval {interval}) is worse than before the fit on the same {n} "
    "images.",
    "verdict_needed": "At this accuracy about {n} sealed images would show it, some {n_all} labelled images in all.",
    "verdict_harm": "Of the {defects} defects {escapes} would have escaped, of the {goods} good parts {overkill} "
    "would have been rejected{money}.",
    "verdict_money": "; mistakes would cost {value} per 1,000 parts ({interval})",
    "prior_zero_shot": "texts alone",
    "prior_prototype": "mean images",
    "prior_mixed_prior": "texts and mean images",
    "before": "before ({prior})",
    "after": "after the fit",
    "reviewed": "after, with reviews",
    "tile_accuracy": "accuracy",
    "tile_gain": "gain over {prior}, points",
    "tile_escapes": "escapes per 1,000 parts",
    "tile_overkill": "overkill per 1,000 parts",
    "tile_cost": "cost per 1,000 parts",
    "tile_interval": "95 % interval {interval}",
    "accuracy_head": "Accuracy",
    "accuracy_text": "Share of the {n} sealed images that got the right class. The bars are 95 % intervals (Wilson): "
    "where the true value may lie, given so few images.",
    "accuracy_gain": "The same images were judged before and after: {only_after} became right and {only_before} "
    "became wrong. Gain {gain}, 95 % interval {interval} (McNemar p {p}).",
    "accuracy_smallest": "The smallest difference that {n} images can show (80 % power): about {possible} if every "
    "changed answer is a gain, about {typical} if answers change as often as here. A smaller difference between two "
    "heads cannot be told from chance with these images.",
    "accuracy_smallest_none": "{n} images are too few to show any difference between two heads.",
    "accuracy_out_of_fold": "cross-validated, the {n} fitted images",
    "col_way": "",
    "col_accuracy": "accuracy",
    "col_right": "right",
    "axis_accuracy": "accuracy, %",
    "matrix_head": "Confusion matrix, before and after",
    "matrix_text": "Rows: what the part is. Columns: what it was called. On the diagonal all is well; every other "
    "number is a mistake.",
    "matrix_some": "Shown are the {n} classes with the most mistakes, of {n_all}.",
    "matrix_truth": "true class",
    "matrix_called": "called",
    "matrix_alt": "Confusion matrix {way}: {right} of {n} on the diagonal",
    "matrix_pair": "confused pair",
    "matrix_arrow": "{truth} called {called}",
    "matrix_clean": "No image was confused.",
    "damage_head": "Escapes and overkill, and what they cost",
    "damage_text": "Escape: a defect taken for good. Overkill: a good part rejected. Mix-up: the right side, the "
    "wrong class. Review: a person looks, as the line's configuration says. Each "
    "has its own scale in the plot.",
    "damage_mix": "Per 1,000 parts of the stated class mix: {mix}.",
    "damage_no_mix": "Per 1,000 parts mixed like the sealed images. Real lines have far fewer defects: state the "
    "line's own mix (decision.line_mix or --mix) before anyone plans with these figures.",
    "damage_costs": "Stated costs per part, in {currency}: escape {escape}, overkill {overkill}, mix-up {mix_up}, "
    "review {review}.",
    "damage_no_costs": "No costs were stated, so none are shown (decision.costs or --costs).",
    "damage_none_seen": "No escape among {n} defects does not mean none: at 95 % confidence up to {high} may escape.",
    "damage_unseen": "No sealed image of {names}: taken at their worst in the upper limits.",
    "escapes": "escapes",
    "overkill": "overkill",
    "mix_ups": "mix-ups",
    "reviews": "reviews",
    "cost": "cost",
    "per_1000": "per 1,000 parts",
    "escapes_of": "escapes of the defects",
    "overkill_of": "overkill of the good parts",
    "classes_head": "Each class",
    "classes_text": "Precision: of the parts with this label, how many are. Recall: of the parts of this class, how "
    "many got the label. The threshold is the lowest confidence from which at least {target} of the labels were right "
    "in cross-validation on the fitted images; beside it what it did on the sealed ones.",
    "col_class": "class",
    "col_images": "images fitted / sealed",
    "col_precision": "precision",
    "col_recall": "recall",
    "col_threshold": "threshold for {target}",
    "col_kept": "labels above it",
    "col_sealed_precision": "right above it, sealed",
    "good": "good",
    "defect": "defect",
    "any_confidence": "any",
    "never": "not reached",
    "reliability_head": "Is the confidence honest?",
    "reliability_text": "Of parts labelled with a confidence of 90 %, nine in ten should be right: points on the line. "
    "Above it the head is too modest, below it too sure. Expected calibration error {error}.",
    "reliability_few": "Each point stands for few images, so the bars are wide.",
    "axis_confidence": "confidence, %",
    "col_confidence": "confidence",
    "col_n": "images",
    "ideal": "honest",
    "learning_head": "How many more labels, and of which class?",
    "learning_text": "The head was fitted again on a part of the labels, {n_draws} draws, and judged on images outside "
    "each draw. The sealed images had no part in this.",
    "learning_more": "About {n} more labels would give {gain} (90 % interval {interval}).",
    "learning_unknown": "What more labels would bring cannot be told from this many: too few mistakes are left, or "
    "their number does not fall steadily enough to be carried on.",
    "learning_impossible": "With one image per class nothing can be held out, so there is no curve.",
    "axis_labels": "labelled images",
    "col_labels": "labels",
    "interval_90": "90 % interval",
    "extrapolated": "extrapolated",
    "need_text": "Where the next {n} labels are worth most: shared out by the share of a class that may be missed at "
    "worst, by cross-validation. That is large where mistakes are many, and where images are few.",
    "col_missed": "missed in cross-validation",
    "col_at_worst": "at worst (95 %)",
    "col_mistaken_for": "mostly taken for",
    "col_next": "of the next {n} labels",
    "texts_head": "What the texts can do by themselves",
    "texts_text": "A classifier of texts alone (CODER), on the fitted images: left by the number of nearest texts that "
    "vote, right by how strongly the weights of the texts are held to equal shares. A setting is taken only where it "
    "gains more than its standard error.",
    "texts_k": "K nearest texts",
    "texts_ridge": "shrinkage of the weights",
    "texts_all": "all",
    "texts_equal": "equal",
    "texts_chosen": "Taken: K = {k}, weights: {ridge}.",
    "col_k": "K",
    "col_ridge": "shrinkage",
    "col_gain": "gain ± standard error",
    "mistakes_head": "The worst mistakes",
    "mistakes_text": "The {n} surest of {n_all} wrong answers on the sealed images. Beside each text and labelled "
    "image: how much it spoke for the wrong label (+) or against it (−), in logit units.",
    "mistakes_none": "No sealed image was labelled wrongly.",
    "mistake_title": "{truth} called {called}",
    "mistake_confidence": "confidence {confidence}; the true class got {truth}",
    "mistake_margin": "Ahead of {rival} by {margin}; before the fit by {raw}. The fit changed that by {removed}.",
    "mistake_texts": "texts",
    "mistake_support": "nearest labelled images",
    "mistake_likeness": "nearest labelled images (shares by likeness)",
    "mistake_picture": "Picture {name}",
    "method_head": "How this was measured",
    "method_split": "{n_sealed} of {n_images} source images were sealed: about 30 % of each class, at least 1, at most "
    "half and at most 50, by a hash of the file's content. The same image is always on the same side and nobody "
    "chooses. They had no part in fitting, tuning, temperature or thresholds, and were judged once.",
    "method_fit": "The head was fitted on the other {n_fit} images (validation {folds}, temperature {temperature}).",
    "folds_4-fold": "4-fold",
    "folds_leave-one-out": "leave-one-out",
    "folds_none": "none: one image per class",
    "method_limits": "All of it holds for parts, light and cameras like those of the images. Whoever looks at this "
    "report, changes the head and looks again has used the seal up a little: new images restore it.",
    "method_again": "To make it again: {command}",
    "alt_intervals": "Accuracy with 95 % intervals: {summary}",
    "alt_damage": "{what} per 1,000 parts: {summary}",
    "alt_line": "{what}: {summary}",
    "list_join": ", ",
    "sentence_join": " ",
}
