"""Model-based deep learning: decision rules that combine what is known with what is learned."""
