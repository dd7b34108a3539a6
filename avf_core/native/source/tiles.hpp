#pragma once
namespace avf { inline int tiles_allowed() { return 1; } }
