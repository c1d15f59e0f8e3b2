"""From a trained network to the folder a device opens: its forms, the validation that they agree with it, and what ``model.json`` says."""
