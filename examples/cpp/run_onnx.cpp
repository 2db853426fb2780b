// Run an exported detector or classifier from C++, with ONNX Runtime alone.
//
//   g++ -std=c++17 -O2 run_onnx.cpp -I$ORT/include -L$ORT/lib -lonnxruntime -o run_onnx
//   ./run_onnx model.onnx photo.ppm
//
// ORT is an unpacked release of ONNX Runtime (1.12 or later) for your platform. The image is a
// binary PPM file (P6), which needs no library to read: `convert photo.jpg photo.ppm`. In a program
// of your own, the pixels come from your camera or decoder: height × width × 3 bytes, RGB.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
    int64_t width = 0, height = 0;
    std::vector<uint8_t> pixels;
};

// The number that follows in the header of a PPM file, after blanks and comments.
static int64_t number(std::istream& file) {
    while ((file >> std::ws).peek() == '#') {
        std::string comment;
        std::getline(file, comment);
    }
    int64_t value = 0;
    file >> value;
    return value;
}

static Image read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("there is no image file " + path);
    std::string magic(2, ' ');
    file.read(magic.data(), 2);
    Image image;
    if (magic == "P6") {
        image.width = number(file);
        image.height = number(file);
    }
    if (magic != "P6" || number(file) != 255 || image.width < 1 || image.height < 1 ||
        image.width > 65535 || image.height > 65535)
        throw std::runtime_error(path + " is not a binary PPM image with 8 bits (P6, 255)");
    file.get();  // the one blank before the pixels
    image.pixels.resize(3 * image.width * image.height);
    file.read(reinterpret_cast<char*>(image.pixels.data()), image.pixels.size());
    if (!file) throw std::runtime_error(path + " ends before its last pixel");
    return image;
}

static void run(const std::string& model, const std::string& photo) {
    Image image = read_ppm(photo);
    if (!std::ifstream(model)) throw std::runtime_error("there is no model file " + model);
    Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "run_onnx");
    Ort::Session session(env, model.c_str(), Ort::SessionOptions());

    Ort::AllocatorWithDefaultOptions allocator;
    std::vector<std::string> names;
    for (size_t i = 0; i < session.GetOutputCount(); ++i)
        names.push_back(session.GetOutputNameAllocated(i, allocator).get());
    std::vector<const char*> outputs;
    for (const auto& name : names) outputs.push_back(name.c_str());

    const char* input = "images";
    const std::vector<int64_t> shape{1, image.height, image.width, 3};
    auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    auto pixels = Ort::Value::CreateTensor<uint8_t>(memory, image.pixels.data(),
                                                    image.pixels.size(), shape.data(), 4);
    auto results = session.Run(Ort::RunOptions(), &input, &pixels, 1, outputs.data(),
                               outputs.size());

    auto result = [&](const std::string& name) -> Ort::Value* {
        auto found = std::find(names.begin(), names.end(), name);
        return found == names.end() ? nullptr : &results[found - names.begin()];
    };
    if (Ort::Value* counts = result("counts")) {  // a detector
        const float* box = result("boxes")->GetTensorData<float>();
        const float* scores = result("scores")->GetTensorData<float>();
        const int64_t* labels = result("labels")->GetTensorData<int64_t>();
        for (int64_t i = 0; i < *counts->GetTensorData<int64_t>(); ++i, box += 4)
            std::printf("class %lld %.4f at %.1f, %.1f, %.1f, %.1f\n",
                        static_cast<long long>(labels[i]), scores[i], box[0], box[1], box[2],
                        box[3]);
        return;
    }
    const bool logits = result("logits") != nullptr;
    Ort::Value* values = result(logits ? "logits" : "scores");
    if (!values) throw std::runtime_error(model + " is neither a detector nor a classifier");
    const float* scores = values->GetTensorData<float>();
    const size_t count = values->GetTensorTypeAndShapeInfo().GetElementCount();
    const size_t best = std::max_element(scores, scores + count) - scores;
    double sum = 0;  // of the softmax, relative to the best class
    for (size_t i = 0; i < count; ++i) sum += std::exp(scores[i] - scores[best]);
    Ort::Value* labels = result("labels");  // with --topk
    std::printf("class %lld %.4f\n",
                static_cast<long long>(labels ? labels->GetTensorData<int64_t>()[best] : best),
                logits ? 1 / sum : scores[best]);
}

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: run_onnx model.onnx photo.ppm\n");
        return 2;
    }
    try {
        run(argv[1], argv[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
    return 0;
}
