"""The network: model card, frozen graph, tiles and upscaler. The only importer of TensorFlow."""
