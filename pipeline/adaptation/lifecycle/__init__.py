"""What a recalibration run goes through: states and events, its journal, and the log of who changed what."""
