"""From a trained network to the folder a device opens: its forms, the proof that they agree with it, and what ``model.json`` says."""
