package serve

const nativePark = true
