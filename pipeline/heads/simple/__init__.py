"""Strong simple heads: zero-shot, prototypes, probes, GDA, kernel ridge, Tip-Adapter, logistic regression."""
