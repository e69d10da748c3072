-- lua_job.lua - what Lua does in the suite: returns a function that works for some
-- rounds and returns a checksum of all it has computed.

local seed = 12345
local function random(limit)
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return (seed >> 8) % limit + 1
end

local checksum = 7
local function note(number)
  checksum = (checksum * 31 + number) & 0xffffffff
end

-- A text cut into words, counted, sorted and put together again.
local function count_words()
  local syllables = { "ba", "ke", "li", "mo", "nu", "sha", "tre", "vo" }
  local text = {}
  for i = 1, 4000 do
    local word = {}
    for k = 1, random(4) do word[k] = syllables[random(#syllables)] end
    text[i] = table.concat(word)
  end
  local counts = {}
  for word in table.concat(text, " "):gmatch("%a+") do
    counts[word] = (counts[word] or 0) + 1
  end
  local words = {}
  for word in pairs(counts) do words[#words + 1] = word end
  table.sort(words)
  local line = {}
  for i, word in ipairs(words) do line[i] = word .. "=" .. counts[word] end
  local result = table.concat(line, ";")
  for i = 1, #result, 97 do note(result:byte(i)) end
end

-- A tree of tables, searched and thinned out.
local function grow_tree()
  local root
  local function insert(key)
    local place, side = nil, nil
    local node = root
    while node do
      if key == node.key then return end
      place, side = node, key < node.key and "left" or "right"
      node = node[side]
    end
    local fresh = { key = key, name = "node " .. key }
    if place then place[side] = fresh else root = fresh end
  end
  for _ = 1, 6000 do insert(random(1000000)) end
  local function visit(node, depth)
    if not node then return 0 end
    if depth > 12 then node.left, node.right = nil, nil end
    return 1 + visit(node.left, depth + 1) + visit(node.right, depth + 1)
  end
  note(visit(root, 0))
  note(#root.name)
end

-- Rows of a matrix that are multiplied, and closures that remember them.
local function multiply()
  local size = 40
  local function matrix()
    local rows = {}
    for i = 1, size do
      local row = {}
      for k = 1, size do row[k] = random(9) end
      rows[i] = row
    end
    return rows
  end
  local a, b, reads = matrix(), matrix(), {}
  for i = 1, size do
    for k = 1, size do
      local sum = 0
      for n = 1, size do sum = sum + a[i][n] * b[n][k] end
      reads[#reads + 1] = function() return sum end
    end
  end
  for i = 1, #reads, 7 do note(reads[i]()) end
end

return function(rounds)
  for _ = 1, rounds do
    count_words()
    grow_tree()
    multiply()
  end
  return string.format("%08x after %d rounds", checksum, rounds)
end
