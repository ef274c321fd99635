"""The network: card, frozen graph, tiles. The only importer of TensorFlow."""
